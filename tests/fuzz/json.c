/*
 * JSON of peers. What the strict reader takes, the lenient one takes too and understands alike; what it takes ends where
 * the scan said, and comes back from a string of ours. What is put is what Jansson makes of it.
 */
#include "base/alloc.h"
#include "base/common.h"
#include "fuzz.h"
#include "wire/jsonout.h"

#include <stdlib.h>

#define MAX 4096

static void quoted(const char *s)
{
	static char out[6 * MAX + 3];
	struct sg_text t = sg_text(out, sizeof(out));
	json_t *back;

	sg_json_text_add(&t, s);
	must(!t.err);
	back = sg_json_parse((struct sg_view){(uint8_t *)out, t.len}, NULL);
	must(json_is_string(back));
	json_decref(back);
}

static void put_tree(const json_t *tree)
{
	struct sg_json_out out = {.max = SIZE_MAX};
	char *text, *same = json_dumps(tree, JSON_COMPACT);

	must(same);
	sg_json_put_value(&out, NULL, tree);
	text = sg_json_take(&out);
	must(text && strcmp(text, same) == 0);
	free(same);
	sg_free(text);
}

static void put(const char *s)
{
	struct sg_json_out out = {.max = 6 * MAX + 3};
	json_t *string = json_string(s);
	char *text, *same = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;

	sg_json_put_text(&out, NULL, s);
	text = sg_json_take(&out);
	must(text);
	must(!string || strcmp(text, same) == 0);
	free(same);
	json_decref(string);
	string = sg_json_parse((struct sg_view){(uint8_t *)text, strlen(text)}, NULL);
	must(json_is_string(string));
	json_decref(string);
	sg_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct sg_view in = {data, size};
	json_t *root = NULL, *strict;
	char *text = calloc(1, size + 1);
	struct sg_json_scan scan = {0}, on = {0};
	int end = sg_json_scan(&scan, in, MAX), used = sg_json_object(in, MAX, &root);

	must(text);
	must(end <= (int)size && end <= MAX);
	/* In two pieces as in one. */
	if (sg_json_scan(&on, (struct sg_view){data, size / 2}, MAX) == 0)
		must(sg_json_scan(&on, in, MAX) == end);
	must(used < 0 || used == end || (used == end + 1 && data[end] == '\n'));
	must(end > 0 || used == end);
	if (end > 0) {
		strict = sg_json_parse((struct sg_view){data, (size_t)end}, NULL);
		must(!strict || (used > 0 && json_equal(strict, root)));
		json_decref(strict);
	}
	if (root)
		put_tree(root);
	json_decref(root);
	if (size && size < MAX) {
		memcpy(text, data, size);
		quoted(text);
		put(text);
	}
	free(text);
	return 0;
}
