/* What a process holds: more after it took some, and its part of what is shared is no more than the whole. */
#include "base/memory.h"
#include "base/common.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#define TAKEN ((size_t)16 << 20)

static void what_is_taken_is_counted(void **state)
{
	uint64_t pss = sg_memory_pss(), resident = sg_memory_resident();
	void *p = mmap(NULL, TAKEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	(void)state;
	assert_true(resident > 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	memset(p, 1, TAKEN);
	assert_true(sg_memory_resident() >= resident + TAKEN / 2);
	/* Kernels that are built without page monitoring do not say. */
	if (access("/proc/self/smaps_rollup", R_OK) < 0) {
		assert_int_equal(pss, 0);
	} else {
		assert_true(pss > 0 && pss <= resident + TAKEN);
		assert_true(sg_memory_pss() >= pss + TAKEN / 2);
	}
	munmap(p, TAKEN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_taken_is_counted)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
