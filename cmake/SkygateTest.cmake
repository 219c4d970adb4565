# Test helpers. A test that cannot run here exits with 77 and prints why.

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
	add_test(NAME ${A_LABEL}.${name} COMMAND test_${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
	set_tests_properties(${A_LABEL}.${name} PROPERTIES LABELS ${A_LABEL} SKIP_RETURN_CODE 77 TIMEOUT 120)
endfunction()
