# Helpers that keep the folder rules: a target per folder, and an include root per folder, so that a header
# of a folder which is not linked cannot be found.
include(GNUInstallDirs)
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)

set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

add_library(sg_flags INTERFACE)
target_compile_definitions(sg_flags INTERFACE _GNU_SOURCE _FILE_OFFSET_BITS=64 SG_VERSION="${PROJECT_VERSION}"
	SG_PLUGIN_DIR="${CMAKE_INSTALL_FULL_LIBDIR}/skygate")
target_compile_options(sg_flags INTERFACE -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes
	-Wpointer-arith -Wwrite-strings -Wvla -Wformat=2 -Wundef -Wimplicit-fallthrough -fno-common)
# gcc 12 with link-time optimisation takes the head of an intrusive list inside a larger struct and the same head by its
# own type for different objects, and no longer sees that removing a node empties the list (link/peer.c: an endless loop).
target_compile_options(sg_flags INTERFACE -fno-strict-aliasing)
if(SG_WERROR)
	target_compile_options(sg_flags INTERFACE -Werror)
endif()
if(SG_HARDEN)
	target_compile_options(sg_flags INTERFACE -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2 -fstack-protector-strong
		-fstack-clash-protection)
	target_link_options(sg_flags INTERFACE -Wl,-z,relro,-z,now -Wl,-z,noexecstack -Wl,--as-needed)
endif()
if(SG_SANITIZE)
	target_compile_options(sg_flags INTERFACE -fsanitize=${SG_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
	target_link_options(sg_flags INTERFACE -fsanitize=${SG_SANITIZE})
endif()
if(SG_FUZZ)
	target_compile_options(sg_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()

# sg_folder(NAME SOURCES … [LINKS targets…] [PKGS pkg-config modules…]): the static library of this folder.
# Its headers are included as "<folder>/<file>.h", and only by targets that link it.
function(sg_folder name)
	cmake_parse_arguments(A "" "" "SOURCES;LINKS;PKGS" ${ARGN})
	get_filename_component(folder ${CMAKE_CURRENT_SOURCE_DIR} NAME)
	set(root ${CMAKE_BINARY_DIR}/inc/${name})
	file(MAKE_DIRECTORY ${root})
	file(CREATE_LINK ${CMAKE_CURRENT_SOURCE_DIR} ${root}/${folder} SYMBOLIC)
	add_library(${name} STATIC ${A_SOURCES})
	target_include_directories(${name} PUBLIC ${root})
	target_link_libraries(${name} PUBLIC ${A_LINKS} PRIVATE sg_flags)
	foreach(pkg ${A_PKGS})
		sg_pkg(${pkg})
		target_link_libraries(${name} PRIVATE pkg_${pkg})
	endforeach()
endfunction()

# sg_pkg(MODULE): makes the interface target pkg_MODULE, or ends with the Debian package that brings it.
function(sg_pkg module)
	if(TARGET pkg_${module})
		return()
	endif()
	if(module STREQUAL "http_parser") # it comes without a description of itself
		find_library(http_parser_LIBRARY http_parser)
		find_path(http_parser_INCLUDE http_parser.h)
		if(http_parser_LIBRARY AND http_parser_INCLUDE)
			add_library(pkg_http_parser INTERFACE)
			target_link_libraries(pkg_http_parser INTERFACE ${http_parser_LIBRARY})
			return()
		endif()
	else()
		pkg_check_modules(${module} IMPORTED_TARGET GLOBAL ${module})
	endif()
	if(NOT ${module}_FOUND)
		message(FATAL_ERROR "The library ${module} is missing. Install everything needed with: scripts/install-packages")
	endif()
	add_library(pkg_${module} INTERFACE)
	target_link_libraries(pkg_${module} INTERFACE PkgConfig::${module})
endfunction()

# Programs find libskygate wherever the whole was installed; plugins find it loaded already.
set(SG_INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}")

# sg_program(NAME SOURCES … LINKS …): a program of the product.
function(sg_program name)
	cmake_parse_arguments(A "" "" "SOURCES;LINKS;PKGS" ${ARGN})
	add_executable(${name} ${A_SOURCES})
	target_link_libraries(${name} PRIVATE ${A_LINKS} sg_flags)
	foreach(pkg ${A_PKGS})
		sg_pkg(${pkg})
		target_link_libraries(${name} PRIVATE pkg_${pkg})
	endforeach()
	set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)
	if("skygate" IN_LIST A_LINKS)
		set_target_properties(${name} PROPERTIES INSTALL_RPATH "${SG_INSTALL_RPATH}")
	endif()
endfunction()

# sg_daemon_program(NAME SOURCES…): core with main of its own. Core shares libskygate with the plugins it loads (one
# logger, one count of the heap); with SG_STATIC_PLUGINS everything is linked in and no shared object is needed.
function(sg_daemon_program name)
	add_executable(${name} ${ARGN})
	if(SG_STATIC_PLUGINS)
		target_link_libraries(${name} PRIVATE sg_core sg_flags)
	else()
		foreach(folder sg_core sg_net sg_route sg_link sg_store)
			target_sources(${name} PRIVATE $<TARGET_OBJECTS:${folder}>)
			target_include_directories(${name} PRIVATE $<TARGET_PROPERTY:${folder},INTERFACE_INCLUDE_DIRECTORIES>)
		endforeach()
		target_link_libraries(${name} PRIVATE skygate pkg_jansson pkg_libseccomp ${CMAKE_DL_LIBS} sg_flags)
		set_target_properties(${name} PROPERTIES INSTALL_RPATH "${SG_INSTALL_RPATH}")
	endif()
	# Plugins are known once every folder was read.
	cmake_language(EVAL CODE "cmake_language(DEFER DIRECTORY [[${CMAKE_SOURCE_DIR}]] CALL sg_builtin_plugins [[${name}]])")
endfunction()

# sg_builtin_plugins(TARGET): gives it core_builtin_plugins, the table of what is linked in.
function(sg_builtin_plugins target)
	get_property(plugins GLOBAL PROPERTY SG_PLUGINS)
	set(decls "")
	set(rows "")
	if(SG_STATIC_PLUGINS)
		foreach(plugin ${plugins})
			string(REPLACE "-" "_" id ${plugin})
			string(APPEND decls "extern const struct sg_plugin sg_plugin_${id};\n")
			string(APPEND rows "&sg_plugin_${id}, ")
			target_link_libraries(${target} PRIVATE plugin_${plugin})
		endforeach()
	endif()
	set(file ${CMAKE_BINARY_DIR}/builtin/${target}.c)
	file(CONFIGURE OUTPUT ${file} @ONLY CONTENT "/* Generated by the build: the plugins that are linked in. */
#include <skygate/plugin.h>

@decls@
extern const struct sg_plugin *const core_builtin_plugins[];
const struct sg_plugin *const core_builtin_plugins[] = {@rows@NULL};
")
	target_sources(${target} PRIVATE ${file})
endfunction()

# sg_plugin(NAME SOURCES …): plugins/NAME as a shared object that sees the ABI and libskygate only, or, with
# SG_STATIC_PLUGINS, as the static library plugin_NAME for skygated. Unit tests link plugin_NAME either way.
function(sg_plugin name)
	cmake_parse_arguments(A "" "" "SOURCES" ${ARGN})
	set_property(GLOBAL APPEND PROPERTY SG_PLUGINS ${name})
	add_library(plugin_${name} STATIC ${A_SOURCES})
	target_compile_definitions(plugin_${name} PRIVATE SG_PLUGIN_STATIC)
	target_link_libraries(plugin_${name} PUBLIC sg_abi sg_loop sg_wire PRIVATE sg_flags)
	target_include_directories(plugin_${name} PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
	if(NOT SG_STATIC_PLUGINS)
		add_library(so_${name} MODULE ${A_SOURCES})
		target_link_libraries(so_${name} PRIVATE sg_abi skygate sg_flags)
		set_target_properties(so_${name} PROPERTIES OUTPUT_NAME ${name} PREFIX ""
			LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/plugins)
		install(TARGETS so_${name} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}/skygate)
	endif()
endfunction()
