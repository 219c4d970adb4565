/* Which function answers which method of core (wire/methods.c), and what several of them need. */
#include "base/alloc.h"
#include "base/common.h"
#include "base/hex.h"
#include "core/core.h"

const struct method core_methods[] = {
	{"visor.status", method_visor_status},
	{"visor.show", method_visor_show},
	{"config.check", method_config_check},
	{"config.reload", method_config_reload},
	{"transport.list", method_transport_list},
	{"transport.add", method_transport_add},
	{"transport.rm", method_transport_rm},
	{"service.list", method_service_list},
	{"exit.list", method_exit_list},
	{"stream.list", method_stream_list},
	{"route.list", method_route_list},
	{"route.find", method_route_find},
	{"visor.ping", method_visor_ping},
	{"counter.list", method_counter_list},
	{"plugin.list", method_plugin_list},
	{"log.follow", method_log_follow},
	{"log.level", method_log_level},
	{NULL, NULL},
};

json_t *core_text(const char *s)
{
	json_t *text = json_string(s);
	char *copy;

	if (text)
		return text;
	copy = sg_strdup(s);
	if (!copy)
		return NULL;
	for (char *p = copy; *p; p++) {
		if ((unsigned char)*p >= 0x80)
			*p = '?';
	}
	text = json_string(copy);
	sg_free(copy);
	return text;
}

json_t *core_pk(const struct sg_pk *pk)
{
	char hex[SG_PK_TEXT];

	return json_string(sg_pk_str(pk, hex));
}
