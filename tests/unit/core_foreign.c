/* Which peers are not ours: kept over a restart, and nothing depends on the file being there, whole or writable. */
#include "core/core.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[] = "/tmp/sg-foreign-XXXXXX", path[64];

static struct sg_pk key(uint8_t n)
{
	struct sg_pk pk = {{2, n}};

	return pk;
}

static int setup(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/sg-foreign-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/skygated.foreign", dir);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(dir);
}

static void assert_known(struct foreign *f, const char *want)
{
	for (uint8_t i = 0; i < 8; i++) {
		struct sg_pk pk = key(i);

		assert_int_equal(foreign_is(f, &pk), want[i] == 'x');
	}
}

static void set(struct foreign *f, uint8_t n, bool foreign)
{
	struct sg_pk pk = key(n);

	foreign_set(f, &pk, foreign);
}

static void it_outlives_its_process(void **state)
{
	struct foreign *f = foreign_new(dir);
	struct stat st;

	(void)state;
	assert_known(f, "--------");
	set(f, 1, true);
	set(f, 5, true);
	set(f, 7, true);
	set(f, 7, true);
	assert_known(f, "-x---x-x");
	foreign_free(f);
	f = foreign_new(dir);
	assert_known(f, "-x---x-x");
	set(f, 1, false);
	set(f, 1, false);
	assert_known(f, "-----x-x");
	foreign_free(f);
	f = foreign_new(dir);
	assert_known(f, "-----x-x");
	foreign_free(f);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_size, 2 * 67);
	assert_int_equal(st.st_mode & 0777, 0600);
}

static void a_file_that_was_cut_or_spoiled_is_read_as_far_as_it_goes(void **state)
{
	struct foreign *f = foreign_new(dir);
	FILE *file;

	(void)state;
	set(f, 1, true);
	set(f, 2, true);
	foreign_free(f);
	assert_int_equal(truncate(path, 67 + 30), 0);
	f = foreign_new(dir);
	assert_known(f, "-x------");
	foreign_free(f);
	file = fopen(path, "w");
	assert_non_null(file);
	for (int i = 0; i < 200; i++)
		fputs("not a key\n", file);
	fclose(file);
	f = foreign_new(dir);
	assert_known(f, "--------");
	set(f, 3, true);
	foreign_free(f);
	f = foreign_new(dir);
	assert_known(f, "---x----");
	foreign_free(f);
}

static void without_a_file_it_works_for_this_process(void **state)
{
	struct foreign *f = foreign_new("/nonexistent");

	(void)state;
	set(f, 4, true);
	assert_known(f, "----x---");
	foreign_free(f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_outlives_its_process, setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_file_that_was_cut_or_spoiled_is_read_as_far_as_it_goes, setup, teardown),
		cmocka_unit_test(without_a_file_it_works_for_this_process),
	};

	return cmocka_run_group_tests_name("core/foreign", tests, NULL, NULL);
}
