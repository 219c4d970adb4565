/* Where things lie unless the command line says otherwise; packages for other systems define their own. */
#ifndef SG_BASE_PATHS_H
#define SG_BASE_PATHS_H

#ifndef SG_CONF_PATH
#define SG_CONF_PATH "/etc/skygate/skygate.conf"
#endif
#ifndef SG_RUN_DIR
#define SG_RUN_DIR "/run/skygate"
#endif
#ifndef SG_STATE_DIR
#define SG_STATE_DIR "/var/lib/skygate"
#endif
#ifndef SG_PLUGIN_DIR
#define SG_PLUGIN_DIR "/usr/lib/skygate" /* the build passes the real one */
#endif

#endif
