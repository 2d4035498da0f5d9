# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
# To be sourced: the sourced ROS 2, else the one in .env, and this workspace on top of it.
_root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
_env="$_root/.env"

_site=$(echo "$_env"/lib/python3.*/site-packages)
if [ -d "$_site" ]; then
    if [ -z "$ROS_DISTRO" ]; then
        # What the wheels would set by starting each Python twice.
        export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
        export LD_LIBRARY_PATH="$_env/lib$(printf ':%s' "$_site"/ros_*.libs)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
        export AMENT_PREFIX_PATH="$_env${AMENT_PREFIX_PATH:+:$AMENT_PREFIX_PATH}"
        export CMAKE_PREFIX_PATH="$_env${CMAKE_PREFIX_PATH:+:$CMAKE_PREFIX_PATH}"
    else
        # Executables of a ROS 2 run with the system's Python, which does not know the
        # test tools' environment.
        export PYTHONPATH="${PYTHONPATH:+$PYTHONPATH:}$_site"
    fi
    export PATH="$_env/bin:$PATH"
fi
if [ -f "$_root/install/local_setup.bash" ]; then
    # Named because colcon's own way to find it stumbles over a blank in the path.
    COLCON_PYTHON_EXECUTABLE="$(readlink -f "$(command -v python3)")"
    . "$_root/install/local_setup.bash"
    unset COLCON_PYTHON_EXECUTABLE
fi
# The checkout comes first: an edited file is used at once.
export PYTHONPATH="$_root${PYTHONPATH:+:$PYTHONPATH}"

# Fast DDS up to 2 and from 3 on read one each, and 3 warns of the other. The user's own stays.
case "$ROS_DISTRO" in
    humble | iron | jazzy) _profile=FASTRTPS_DEFAULT_PROFILES_FILE ;;
    '') [ -d "$_env/share/fastdds" ] && _profile=FASTDDS_DEFAULT_PROFILES_FILE \
            || _profile=FASTRTPS_DEFAULT_PROFILES_FILE ;;
    *) _profile=FASTDDS_DEFAULT_PROFILES_FILE ;;
esac
export "$_profile=${!_profile:-$_root/config/fastdds.xml}"
unset _profile
unset _root _env _site
