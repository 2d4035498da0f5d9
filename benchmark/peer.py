# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
A peer: the camera node of the textbooks, with cv2.VideoCapture, cv_bridge and a timer.

Arguments: the device node, width, height, frames/s, the name above the topic.
"""
import sys

import cv2
from cv_bridge import CvBridge
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import Image


class Camera(Node):
    """Publishes image_raw."""

    def __init__(self, device: str, width: int, height: int, rate: float, scope: str) -> None:
        super().__init__('camera')
        self.publisher = self.create_publisher(Image, f'{scope}/image_raw', 10)
        self.bridge = CvBridge()
        self.capture = cv2.VideoCapture(device, cv2.CAP_V4L2)
        self.capture.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        self.capture.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        self.create_timer(1 / rate, self.publish)

    def publish(self) -> None:
        good, image = self.capture.read()
        if not good:
            return
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        message = self.bridge.cv2_to_imgmsg(grey, encoding='mono8')
        message.header.stamp = self.get_clock().now().to_msg()
        message.header.frame_id = 'miniscope_optical_frame'
        self.publisher.publish(message)


def main() -> None:
    """Publish until SIGINT."""
    device, width, height, rate, scope = sys.argv[1:]
    rclpy.init()
    camera = Camera(device, int(width), int(height), float(rate), scope)
    try:
        rclpy.spin(camera)
    except (ExternalShutdownException, KeyboardInterrupt):
        camera.capture.release()


if __name__ == '__main__':
    main()
