/* What directory services answer when they refuse. */
#include "wire/service.h"
#include "base/common.h"
#include "base/text.h"
#include "wire/json.h"

char *sg_service_error(struct sg_view body, char *out, size_t cap)
{
	json_t *root = body.len ? sg_json_parse_peer(body) : NULL;
	const json_t *error = json_is_object(root) ? sg_json_get(root, "error") : NULL;
	struct sg_view v = {NULL, 0};

	if (json_is_object(error))
		(void)sg_json_get_text(error, "message", &v);
	else if (json_is_string(error))
		v = (struct sg_view){(const uint8_t *)json_string_value(error), json_string_length(error)};
	snprintf(out, cap, "%.*s", (int)SG_MIN(v.len, cap - 1), v.len ? (const char *)v.p : "");
	sg_text_ascii(out);
	json_decref(root);
	return out;
}
