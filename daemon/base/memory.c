/* What this process holds. */
#include "base/memory.h"
#include "base/common.h"

#include <stdlib.h>
#include <unistd.h>

uint64_t sg_memory_pss(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "re");
	char line[128];
	uint64_t kib = 0;

	if (!f)
		return 0;
	while (!kib && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "Pss:", 4) == 0)
			kib = strtoull(line + 4, NULL, 10);
	}
	fclose(f);
	return kib * 1024;
}

uint64_t sg_memory_resident(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	char line[128] = "", *second;
	uint64_t pages = 0;

	if (!f)
		return 0;
	/* "size resident shared …", in pages */
	if (fgets(line, sizeof(line), f) && (second = strchr(line, ' ')))
		pages = strtoull(second, NULL, 10);
	fclose(f);
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
