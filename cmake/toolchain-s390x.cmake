# IBM Z: 64 bit, big endian. Nobody runs a router on it; it is where mistakes in byte order come to light.
set(SG_DEB_ARCH s390x)
set(SG_TRIPLET s390x-linux-gnu)
set(SG_PROCESSOR s390x)
set(SG_QEMU qemu-s390x)
include(${CMAKE_CURRENT_LIST_DIR}/toolchain-debian.cmake)
