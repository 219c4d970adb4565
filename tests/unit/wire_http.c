/* HTTP messages: whole in any cut, refused where two readers could differ, bounded, composed without room for tricks. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/err.h"
#include "fake/alloc.h"
#include "wire/http.h"
#include "wire/url.h"
#include "view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

/* What a reader makes of it, fed in pieces of @step bytes; *used: bytes that belonged to the message. */
static int read_all(bool request, const char *text, size_t step, struct sg_http **out, size_t *used)
{
	struct sg_http *h = sg_http_new(request, 1000);
	struct sg_view in = view(text);
	const char *why;
	int ret = 0;

	*used = 0;
	while (ret == 0 && in.len) {
		size_t n = SG_MIN(step, in.len), took;

		ret = sg_http_feed(h, (struct sg_view){in.p, n}, &took, &why);
		*used += took;
		in.p += n;
		in.len -= n;
	}
	if (ret == 0)
		ret = sg_http_end(h, &why);
	if (ret < 0)
		assert_true(why[0] != '\0');
	*out = h;
	return ret;
}

static int outcome(bool request, const char *text)
{
	struct sg_http *h;
	size_t used;
	int ret = read_all(request, text, 1 + strlen(text), &h, &used);

	sg_http_free(h);
	return ret;
}

static void any_cut(void **state)
{
	static const char text[] =
		"POST /a/b?c=d HTTP/1.1\r\nHost: x:80\r\nX-Empty:\r\nContent-Length: 5\r\n\r\nhelloREST";
	static const char chunked[] =
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";

	(void)state;
	for (size_t step = 1; step < sizeof(text); step++) {
		struct sg_http *h;
		size_t used;

		assert_int_equal(read_all(true, text, step, &h, &used), 1);
		assert_int_equal(used, sizeof(text) - 1 - 4);
		assert_string_equal(sg_http_method(h), "POST");
		assert_string_equal(sg_http_target(h), "/a/b?c=d");
		assert_string_equal(sg_http_header(h, "hOsT"), "x:80");
		assert_string_equal(sg_http_header(h, "X-Empty"), "");
		assert_null(sg_http_header(h, "Absent"));
		assert_int_equal(sg_http_body(h).len, 5);
		assert_memory_equal(sg_http_body(h).p, "hello", 5);
		sg_http_free(h);
		assert_int_equal(read_all(false, chunked, step, &h, &used), 1);
		assert_int_equal(sg_http_status(h), 200);
		assert_int_equal(sg_http_body(h).len, 5);
		assert_memory_equal(sg_http_body(h).p, "abcde", 5);
		sg_http_free(h);
	}
}

static void ends(void **state)
{
	(void)state;
	/* Without a length a response ends with the stream; a request never does. */
	assert_int_equal(outcome(false, "HTTP/1.0 200 OK\r\n\r\nall of it"), 1);
	assert_int_equal(outcome(false, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell"), SG_EMALF);
	assert_int_equal(outcome(false, "HTTP/1.1 200 OK\r\nContent-Le"), SG_EMALF);
	assert_int_equal(outcome(true, "GET / HTTP/1.1\r\nHost: a\r\n"), SG_EMALF);
	assert_int_equal(outcome(true, ""), SG_EMALF);
	/* An interim response is none that we asked for. */
	assert_int_equal(outcome(false, "HTTP/1.1 002 OK\r\nContent-Length: 0\r\n\r\n"), SG_EMALF);
	assert_int_equal(outcome(false, "HTTP/1.1 600 Odd\r\nContent-Length: 0\r\n\r\n"), SG_EMALF);
	assert_int_equal(
		outcome(false, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
		SG_EMALF);
}

static void two_readers_could_differ(void **state)
{
#define REQ "POST / HTTP/1.1\r\nHost: a\r\n"
	static const char *const refused[] = {
		REQ "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		REQ "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
		REQ "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		REQ "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		REQ "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
		REQ "Transfer-Encoding: identity\r\n\r\n",
		REQ "Content-Length: -5\r\n\r\n",
		REQ "Content-Length: 5 5\r\n\r\nhello",
		REQ "Content-Length: 99999999999999999999999\r\n\r\n",
		REQ "Content-Length : 5\r\n\r\nhello",
		REQ "X: a\r\n b\r\n\r\n",
		REQ "X: a\001b\r\n\r\n",
		REQ "Host: b\r\n\r\n",
		"POST / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\n\n",
		"GET / HTTP/1.1\r\nHost: a\r\n\rX",
		"GET / HTTP/1.1\r\nHost: a\rX: y\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n",
		"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
		"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
		"\r\nnonsense\r\n\r\n",
		"get_nonce",
	};

	(void)state;
	for (size_t i = 0; i < SG_ARRAY_LEN(refused); i++) {
		if (outcome(true, refused[i]) >= 0)
			fail_msg("accepted: %s", refused[i]);
	}
}

static void bounds(void **state)
{
	static char text[SG_HTTP_HEAD_MAX * 3];
	size_t at;

	(void)state;
	assert_int_equal(outcome(true, REQ "Content-Length: 1001\r\n\r\n"), SG_ELONG);
	at = (size_t)snprintf(text, sizeof(text), REQ "X: ");
	memset(text + at, 'a', SG_HTTP_HEAD_MAX);
	memcpy(text + at + SG_HTTP_HEAD_MAX, "\r\n\r\n", 5);
	assert_int_equal(outcome(true, text), SG_ELONG);
	at = (size_t)snprintf(text, sizeof(text), REQ);
	for (int i = 0; i < SG_HTTP_HEADERS_MAX; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "X%d: y\r\n", i);
	snprintf(text + at, sizeof(text) - at, "\r\n");
	assert_int_equal(outcome(true, text), SG_ELONG);
	/* Chunks that never end. */
	at = (size_t)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 100; i++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "10\r\n0123456789abcdef\r\n");
	assert_int_equal(outcome(false, text), SG_ELONG);
}

static void composing(void **state)
{
	static const struct sg_http_header good[] = {{"A", "b c"}, {0}}, broken[] = {{"A", "b\r\nC: d"}, {0}},
					   spaced[] = {{"A b", "c"}, {0}};
	struct sg_http *h;
	size_t len, used;
	char *text;

	(void)state;
	text = sg_http_request("POST", "/x", "h:1", good, view("body"), &len);
	assert_non_null(text);
	assert_int_equal(len, strlen("POST /x HTTP/1.1\r\nHost: h:1\r\nA: b c\r\nContent-Length: 4\r\n\r\nbody"));
	assert_memory_equal(text, "POST /x HTTP/1.1\r\nHost: h:1\r\nA: b c\r\nContent-Length: 4\r\n\r\nbody", len);
	sg_free(text);
	assert_null(sg_http_request("GET", "/x", "h", broken, view(""), &len));
	assert_null(sg_http_request("GET", "/x", "h", spaced, view(""), &len));
	assert_null(sg_http_request("GET", "/x y", "h", good, view(""), &len));
	assert_null(sg_http_request("GET", "/x", "h\r\n", good, view(""), &len));
	text = sg_http_response(404, good, view("no"), &len);
	assert_non_null(text);
	text = sg_realloc(text, len + 1);
	text[len] = '\0';
	assert_int_equal(read_all(false, text, 3, &h, &used), 1);
	assert_int_equal(sg_http_status(h), 404);
	sg_http_free(h);
	sg_free(text);
}

static void urls(void **state)
{
	struct sg_url u;

	(void)state;
	assert_int_equal(sg_url_split("http://a.b:9090/x/y/?q", &u), 0);
	assert_string_equal(u.scheme, "http");
	assert_string_equal(u.host, "a.b");
	assert_string_equal(u.path, "/x/y");
	assert_int_equal(u.port, 9090);
	assert_int_equal(sg_url_split("dmsg://02ab", &u), 0);
	assert_int_equal(u.port, 80);
	assert_false(u.port_given);
	assert_true(sg_url_split("a.b:80", &u) < 0);
	assert_true(sg_url_split("http://", &u) < 0);
	assert_true(sg_url_split("http://a:0", &u) < 0);
	assert_true(sg_url_split("http://a:65536", &u) < 0);
	assert_true(sg_url_split("http://a:1x", &u) < 0);
	assert_true(sg_url_split("http://a b", &u) < 0);
}

static bool message(void *arg)
{
	struct sg_http *h = sg_http_new(false, 1000);
	const char *why;
	size_t used;
	int ret = h ? sg_http_feed(h, view("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), &used, &why) : -ENOMEM;

	(void)arg;
	assert_true(ret == 1 || ret == -ENOMEM);
	sg_http_free(h);
	return ret == 1;
}

static void each_allocation_fails(void **state)
{
	(void)state;
	assert_true(fake_alloc_each("HTTP response", message, NULL) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(any_cut), cmocka_unit_test(ends),
		cmocka_unit_test(two_readers_could_differ), cmocka_unit_test(bounds), cmocka_unit_test(composing),
		cmocka_unit_test(urls), cmocka_unit_test(each_allocation_fails)};

	return cmocka_run_group_tests_name("http", tests, NULL, NULL);
}
