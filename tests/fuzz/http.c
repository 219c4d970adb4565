/* HTTP messages in any cut: one cut and another must come to the same verdict; what is whole keeps its promises. */
#include "base/common.h"
#include "fuzz.h"
#include "wire/http.h"

#define BODY_MAX 2000

static int read_in(bool request, struct sg_view in, size_t step, struct sg_http **out)
{
	struct sg_http *h = sg_http_new(request, BODY_MAX);
	const char *why = "";
	int ret = 0;

	must(h != NULL);
	while (ret == 0 && in.len) {
		size_t n = SG_MIN(step, in.len), used;

		ret = sg_http_feed(h, (struct sg_view){in.p, n}, &used, &why);
		must(used <= n);
		in.p += n;
		in.len -= n;
	}
	if (ret == 0)
		ret = sg_http_end(h, &why);
	must(ret == 1 || (ret < 0 && why[0]));
	*out = h;
	return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sg_http *a, *b;
	bool request;
	int ret;

	if (size < 2)
		return 0;
	request = data[0] & 1;
	ret = read_in(request, (struct sg_view){data + 1, size - 1}, size, &a);
	/* Refused is refused: what is found first may depend on the cut. */
	must((ret == 1) == (read_in(request, (struct sg_view){data + 1, size - 1}, data[0] / 2 + 1, &b) == 1));
	if (ret == 1) {
		struct sg_view x = sg_http_body(a), y = sg_http_body(b);

		must(x.len == y.len && x.len <= BODY_MAX && (x.len == 0 || memcmp(x.p, y.p, x.len) == 0));
		if (request)
			must(strcmp(sg_http_target(a), sg_http_target(b)) == 0 && sg_http_header(a, "Host"));
		else
			must(sg_http_status(a) == sg_http_status(b) && sg_http_status(a) >= 200);
	}
	sg_http_free(a);
	sg_http_free(b);
	return 0;
}
