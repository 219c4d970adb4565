# Test helpers. A test that cannot run here prints a line "SKIP: reason" and exits with 77.

# Seconds: a test that takes two here may take sixty in an emulated machine.
set(SG_TEST_TIMEOUT 240)
if(CMAKE_CROSSCOMPILING)
	set(SG_TEST_TIMEOUT 900)
endif()

# What the label unit needs, for builds that run nothing else.
add_custom_target(unit-tests)

# sg_unit_test(NAME SOURCES … [LINKS targets…] [WRAP symbols…] [LABEL unit]): a cmocka program. WRAP: symbols that the
# test replaces at link time (-Wl,--wrap), such as sg_malloc for the allocation-failure loops.
function(sg_unit_test name)
	cmake_parse_arguments(A "" "LABEL" "SOURCES;LINKS;WRAP" ${ARGN})
	if(NOT A_LABEL)
		set(A_LABEL unit)
	endif()
	add_executable(test_${name} ${A_SOURCES})
	target_link_libraries(test_${name} PRIVATE ${A_LINKS} sg_base pkg_cmocka sg_flags Threads::Threads)
	foreach(symbol ${A_WRAP})
		target_link_options(test_${name} PRIVATE -Wl,--wrap=${symbol})
	endforeach()
	set_target_properties(test_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
	add_dependencies(unit-tests test_${name})
	add_test(NAME ${A_LABEL}.${name} COMMAND test_${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
	set_tests_properties(${A_LABEL}.${name} PROPERTIES LABELS ${A_LABEL} SKIP_RETURN_CODE 77 TIMEOUT ${SG_TEST_TIMEOUT})
endfunction()

# sg_script_test(NAME LABELS labels… COMMAND program arguments… [TIMEOUT seconds] [SERIAL | LOCK name]): a test that is a
# script. It finds what was built in $SG_BUILD and the sources in $SG_SOURCE. SERIAL: nothing else runs beside it. LOCK: no
# other test of that name does.
function(sg_script_test name)
	cmake_parse_arguments(A "SERIAL" "TIMEOUT;LOCK" "LABELS;COMMAND" ${ARGN})
	list(GET A_LABELS 0 first)
	if(NOT A_TIMEOUT)
		set(A_TIMEOUT 120)
	endif()
	add_test(NAME ${first}.${name} COMMAND ${A_COMMAND} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
	set_tests_properties(${first}.${name} PROPERTIES LABELS "${A_LABELS}" SKIP_RETURN_CODE 77 TIMEOUT ${A_TIMEOUT}
		ENVIRONMENT "SG_BUILD=${CMAKE_BINARY_DIR};SG_SOURCE=${CMAKE_SOURCE_DIR};SG_SANITIZE=${SG_SANITIZE}")
	if(A_SERIAL)
		set_tests_properties(${first}.${name} PROPERTIES RUN_SERIAL TRUE)
	endif()
	if(A_LOCK)
		set_tests_properties(${first}.${name} PROPERTIES RESOURCE_LOCK ${A_LOCK})
	endif()
endfunction()
