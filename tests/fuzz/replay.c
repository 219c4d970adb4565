/* Runs a fuzz target over files, and the files of directories: for compilers without libFuzzer. No input is a failure. */
#include "base/common.h"
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

static size_t runs;

static bool run_file(const char *path, size_t size)
{
	/* Exactly as large as the input, so that a sanitizer sees the first byte read beyond it. */
	uint8_t *data = malloc(size ? size : 1);
	FILE *f = fopen(path, "rb");
	bool ok = data && f && fread(data, 1, size, f) == size;

	if (f)
		fclose(f);
	if (ok) {
		LLVMFuzzerTestOneInput(data, size);
		runs++;
	} else {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	}
	free(data);
	return ok;
}

static bool run_path(const char *path)
{
	struct dirent *entry;
	struct stat st;
	bool ok = true;
	DIR *dir;

	if (stat(path, &st) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	if (!S_ISDIR(st.st_mode))
		return run_file(path, (size_t)st.st_size);
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		char child[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(child, sizeof(child), "%s/%s", path, entry->d_name);
		ok = run_path(child) && ok;
	}
	if (dir)
		closedir(dir);
	return ok && dir;
}

int main(int argc, char **argv)
{
	bool ok = true;

	for (int i = 1; i < argc; i++)
		ok = run_path(argv[i]) && ok;
	printf("%zu inputs\n", runs);
	return ok && runs ? 0 : 1;
}
