/* Scheme, host, port and path. */
#include "wire/url.h"
#include "base/common.h"
#include "base/err.h"
#include "base/text.h"

int sg_url_split(const char *text, struct sg_url *out)
{
	const char *host = strstr(text, "://"), *end, *colon;
	size_t scheme_len, host_len, path_len;
	uint64_t port = 80;
	char digits[8];

	memset(out, 0, sizeof(*out));
	if (!host)
		return SG_EMALF;
	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c <= 0x20 || (unsigned char)*c >= 0x7f)
			return SG_EMALF;
	}
	scheme_len = (size_t)(host - text);
	host += 3;
	end = host + strcspn(host, "/?#");
	colon = memchr(host, ':', (size_t)(end - host));
	host_len = (size_t)((colon ? colon : end) - host);
	path_len = *end == '/' ? strcspn(end, "?#") : 0;
	while (path_len && end[path_len - 1] == '/')
		path_len--;
	if (colon) {
		size_t n = (size_t)(end - colon) - 1;

		if (n >= sizeof(digits))
			return SG_EMALF;
		memcpy(digits, colon + 1, n);
		digits[n] = '\0';
		if (sg_parse_u64(digits, UINT16_MAX, &port) < 0 || port == 0)
			return SG_EMALF;
	}
	if (scheme_len == 0 || scheme_len >= sizeof(out->scheme) || host_len == 0 || host_len >= sizeof(out->host) ||
		path_len >= sizeof(out->path))
		return SG_EMALF;
	memcpy(out->scheme, text, scheme_len);
	memcpy(out->host, host, host_len);
	memcpy(out->path, end, path_len);
	out->port = (uint16_t)port;
	out->port_given = colon != NULL;
	return 0;
}
