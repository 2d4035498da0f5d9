// Copyright 2026 miniscope_ros contributors
// SPDX-License-Identifier: BSD-3-Clause
// A head in three dimensions, held as the animal holds its own, seen from behind and above.
// Body axes: x along the nose, y to the left, z up.

const CORNERS = 12;
const ELEVATION = Math.PI / 4;
const RINGS = [  // x, half width, half height, z
  [-0.72, 0.28, 0.25, 0.02], [-0.42, 0.5, 0.44, 0.02], [0, 0.5, 0.42, 0], [0.55, 0.3, 0.25, -0.08],
  [1, 0.11, 0.1, -0.12]];

function ellipse([x, wide, tall, z]) {
  return Array.from({ length: CORNERS }, (_, index) => {
    const angle = 2 * Math.PI * index / CORNERS;
    return [x, wide * Math.cos(angle), z + tall * Math.sin(angle)];
  });
}

function ear(side) {
  return Array.from({ length: CORNERS }, (_, index) => {
    const angle = 2 * Math.PI * index / CORNERS;
    return [-0.3 - 0.1 * Math.sin(angle), side * (0.5 + 0.26 * Math.cos(angle) * side),
      0.52 + 0.3 * Math.sin(angle)];
  });
}

const POINTS = RINGS.map(ellipse);
const FACES = [{ points: POINTS[0], shade: 1 }, { points: POINTS.at(-1), shade: 0.25 },
  { points: ear(1), shade: 0.8, flat: true }, { points: ear(-1), shade: 0.8, flat: true }];
for (let ring = 0; ring + 1 < POINTS.length; ring += 1) {
  for (let index = 0; index < CORNERS; index += 1) {
    const next = (index + 1) % CORNERS;
    FACES.push({ points: [POINTS[ring][index], POINTS[ring][next], POINTS[ring + 1][next],
      POINTS[ring + 1][index]], shade: 1 });
  }
}

/** Return a vector turned by a quaternion w x y z. */
export function turn([w, x, y, z], [a, b, c]) {
  const p = 2 * (y * c - z * b);
  const q = 2 * (z * a - x * c);
  const r = 2 * (x * b - y * a);
  return [a + w * p + y * r - z * q, b + w * q + z * p - x * r, c + w * r + x * q - y * p];
}

/** Return roll, pitch and yaw [degrees] of a quaternion w x y z. */
export function angles([w, x, y, z]) {
  const degrees = 180 / Math.PI;
  return [
    Math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)) * degrees,
    Math.asin(Math.max(-1, Math.min(1, 2 * (w * y - z * x)))) * degrees,
    Math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)) * degrees];
}

/** Return right and up in the picture, and the depth away from the eye. */
function look([x, y, z]) {
  const sine = Math.sin(ELEVATION);
  const cosine = Math.cos(ELEVATION);
  return [-y, sine * x + cosine * z, cosine * x - sine * z];
}

/** Draw the head; without a quaternion the ring alone. */
export function drawHead(canvas, quaternion) {
  const scale = window.devicePixelRatio || 1;
  const side = canvas.clientWidth;
  if (!side) return;
  if (canvas.width !== Math.round(side * scale)) canvas.width = canvas.height = Math.round(side * scale);
  const context = canvas.getContext('2d');
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.clearRect(0, 0, side, side);
  const at = ([right, up]) => [side / 2 + right * side * 0.36, side / 2 - up * side * 0.36];
  const ring = Array.from({ length: 48 }, (_, index) => {
    const angle = 2 * Math.PI * index / 48;
    return at(look([1.25 * Math.cos(angle), 1.25 * Math.sin(angle), 0]));
  });
  const path = (points) => {
    context.beginPath();
    points.forEach((point, index) => (index ? context.lineTo(...point) : context.moveTo(...point)));
    context.closePath();
  };
  path(ring);
  context.strokeStyle = '#566476';
  context.stroke();
  if (!quaternion) return;
  const shown = FACES.map((face) => {
    const seen = face.points.map((point) => look(turn(quaternion, point)));
    const depth = seen.reduce((sum, point) => sum + point[2], 0) / seen.length;
    const [a, b, c] = seen;
    const u = [b[0] - a[0], b[1] - a[1], b[2] - a[2]];
    const v = [c[0] - a[0], c[1] - a[1], c[2] - a[2]];
    const normal = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    const length = Math.hypot(...normal) || 1;
    const towards = Math.abs(-0.35 * normal[0] + 0.6 * normal[1] - 0.72 * normal[2]) / length;
    return { seen, depth: depth + (face.flat ? -0.05 : 0), light: face.shade * (0.35 + 0.65 * towards) };
  }).sort((one, other) => other.depth - one.depth);
  for (const { seen, light } of shown) {
    path(seen.map(at));
    const level = Math.round(40 + 195 * light);
    context.fillStyle = context.strokeStyle = `rgb(${level}, ${level}, ${level})`;
    context.fill();
    context.stroke();
  }
  const [x, y] = turn(quaternion, [1, 0, 0]);
  const flat = Math.hypot(x, y) || 1;
  context.fillStyle = '#ffb000';
  context.beginPath();
  context.arc(...at(look([1.25 * x / flat, 1.25 * y / flat, 0])), 4, 0, 2 * Math.PI);
  context.fill();
}
