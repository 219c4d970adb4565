# MIPS, 32 bit, little endian, strict about alignment: the cheap router of yesterday.
set(SG_DEB_ARCH mipsel)
set(SG_TRIPLET mipsel-linux-gnu)
set(SG_PROCESSOR mipsel)
set(SG_QEMU qemu-mipsel)
include(${CMAKE_CURRENT_LIST_DIR}/toolchain-debian.cmake)
# The o32 ABI has no 64-bit atomic instructions; gcc calls libatomic for them.
set(CMAKE_C_STANDARD_LIBRARIES_INIT "-Wl,--as-needed -latomic -Wl,--no-as-needed")
