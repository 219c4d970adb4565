/*
 * Every limit and time-out in one place, each with its unit and where it comes from. "spec" is the existing
 * implementation's behaviour (daemon/doc/wire.md); "own" is a choice of ours.
 */
#ifndef SG_BASE_LIMITS_H
#define SG_BASE_LIMITS_H

/* Noise frames: len16 | counter u64 | ciphertext | tag. (spec) */
#define SG_FRAME_HEAD       10 /* length prefix and counter */
#define SG_FRAME_TAG        16
#define SG_FRAME_PREFIX_MAX 4094 /* largest value of the length prefix */
#define SG_FRAME_PLAIN_MAX  4070 /* largest plaintext of one frame */

/* Handshakes. A Noise message may carry a payload of any length that its prefix can state (spec, 2026). */
#define SG_NOISE_MSG_MAX        65535
#define SG_STCP_LINE_MAX        1024  /* bytes of a handshake frame f1..f3 (own; longest real one is about 450) */
#define SG_SETTLE_LINE_MAX      2048  /* bytes of the settlement line (own; a real one is about 520) */
#define SG_HS_STCP_TIMEOUT_MS   10000 /* f0..f3 (spec) */
#define SG_HS_NOISE_TIMEOUT_MS  5000  /* both Noise messages (spec) */
#define SG_HS_SETTLE_TIMEOUT_MS 20000 /* settlement (spec) */
#define SG_HS_PENDING_MAX       256   /* connections in handshake at once, all carriers (own) */
#define SG_HS_PENDING_PER_IP    32    /* of one remote address (own) */

/* Routing packets. (spec) */
#define SG_PACKET_HEAD        7
#define SG_PACKET_PAYLOAD_MAX 65535

/* Virtual streams: id u64 | key 33 | flags u8 | data. (spec) */
#define SG_VSTREAM_HEAD           42
#define SG_VSTREAM_DATA_MAX       (SG_PACKET_PAYLOAD_MAX - SG_VSTREAM_HEAD)
#define SG_VSTREAM_OPEN_MS        5000    /* SYN to answer (spec) */
#define SG_DIRECT_HEAD_MS         250     /* before a group sets out beside a direct dial (contracts) */
#define SG_LINK_HEAD_MS           1000    /* before one does without a link (own) */
#define SG_LINK_KEPT_HEAD_MS      2500    /* the same when the link is of a peer that is dialled anyway (own) */
#define SG_DIRECT_SILENT_MS       1800000 /* a visor that did not answer a direct dial has no head start (contracts) */
#define SG_DIRECT_SILENT_MAX      64      /* such visors remembered (own) */
#define SG_ROUTE_DIAL_MS          5000    /* waiting for a link to dial through (own) */
#define SG_VSTREAM_STALL_MS       30000   /* a reader that holds up a whole link for so long loses its stream (spec) */
#define SG_VSTREAM_CREDIT_MAX     (4 * 1024 * 1024)  /* bytes, what a stream's window may grow to (own) */
#define SG_ROUTE_RX_BYTES         (16 * 1024 * 1024) /* bytes queued for slow readers, all streams (own) */
#define SG_VSTREAMS_PER_LINK      256                /* (own) */
#define SG_VSTREAM_CREDIT_FIRST   (256 * 1024)       /* bytes, first window between our own ends (contracts) */
#define SG_VSTREAM_RX_QUEUE_BYTES (256 * 1024)       /* held for a slow reader without credits (own) */

/* Rules and route groups. */
#define SG_RULE_LIFE_MIN_MS  1000 /* what a rule asks for is kept within these (own) */
#define SG_RULE_LIFE_MAX_MS  600000
#define SG_RULES_MAX         16384 /* rules kept at once (own) */
#define SG_RULES_PER_LINK    4096  /* of these, of what goes on by one transport (own) */
#define SG_RULES_SWEEP_MS    5000  /* between two looks for dead rules (spec) */
#define SG_RULES_RESERVE_MAX 255   /* route ids of one question: its number is a byte (spec) */
#define SG_GROUPS_MAX        1024  /* groups at once, unfinished ones included (own) */
#define SG_GROUPS_PER_KEY    256   /* open ones that one other end opened (own) */
#define SG_GROUPS_UNFINISHED 64    /* in the name of one other end, with the handshake to come (own) */
#define SG_GROUP_FRESH_MS                                                                                              \
	4000 /* since the last packet: its other end has not been started anew; a ping, and some (own) */
#define SG_GROUP_DIAL_MS      30000 /* what a setup node allows itself for one route (spec) */
#define SG_GROUP_HANDSHAKE_MS 10000 /* until the other end's Handshake packet (spec, 2026) */
#define SG_GROUP_GREET_MS     40    /* until our second Handshake packet; then doubled (own) */
#define SG_GROUP_RESEND_MS    1000  /* between two of our Handshake packets (spec, 2026) */
#define SG_GROUP_NOISE_MS     5000  /* both Noise messages (spec) */
#define SG_GROUP_CLOSE_MS     2000  /* until the other end's Close (spec) */
#define SG_GROUP_PING_MS      3000  /* (spec) */
#define SG_GROUP_KEEPALIVE_MS 15000 /* (spec) */
#define SG_GROUP_DEAD_MS      15000 /* silence in spite of pings after which the other end is gone (own) */
/*
 * Asked for in routes of ours, which are used every 3 s by their pings. A visor of 2024 keeps a dead route for so long.
 * (own; others ask for 30 s or 10 min)
 */
#define SG_RULE_LIFE_OWN_MS 120000
#define SG_GROUP_RECORD_MAX 4037          /* plaintext bytes of one record: fills a link frame (contracts) */
#define SG_GROUP_RX_BYTES   (1024 * 1024) /* held for a slow reader of one group (own) */
#define SG_FORWARD_STUCK_MS 5000 /* a link that takes less than the next holds up others for so long at most (own) */
#define SG_FORWARD_MOVED    (32 * 1024) /* bytes (own) */
#define SG_SETUP_NODES_MAX  16          /* (own) */
#define SG_SETUP_NODE_MS    5000        /* for one of them, or a neighbour, to set up a route (own) */
#define SG_GROUP_PORT_FIRST 49152       /* of those that a dialler takes, to 65535 (spec) */

/* Links. */
#define SG_LINKS_MAX      1024 /* live links, all carriers (own) */
#define SG_LINK_WANTS_MAX 64   /* keys that somebody wants a link to at once (own) */
#define SG_LINK_TX_HIGH                                                                                                \
	(128 * 1024) /* bytes waiting in user space; above it streams wait: each ms of it is latency (own) */
#define SG_LINK_TX_FAR          (512 * 1024) /* the same for small packets of routes, which should not wait (own) */
#define SG_LINK_TX_LOW          (32 * 1024)
#define SG_LINK_NOTSENT_LOWAT   (128 * 1024) /* bytes, TCP_NOTSENT_LOWAT (contracts) */
#define SG_LINK_TX_BURST        (64 * 1024)  /* bytes staged that are sent without waiting for the round's end (own) */
#define SG_LINK_RX_READ         (128 * 1024) /* bytes of one read: frames and plaintext stay in the second-level cache (own) */
#define SG_LINK_RX_ROUND        (512 * 1024) /* bytes of one link before others get their turn (own) */
#define SG_LINK_QUIET_MS        1200         /* a visor of 2024 forgets a closed transport within 1 s (spec) */
#define SG_LINK_PING_OWN_MS     2000         /* silence before a ping between our own ends (own) */
#define SG_LINK_DEAD_OWN_MS     6000         /* silence after which our own other end is gone (P4) */
#define SG_LINK_PING_2026_MS    60000        /* toward peers that know pings but not our mark (spec) */
#define SG_LINK_DEAD_2026_MS    300000
#define SG_LINK_KEEPALIVE_S     15    /* TCP keep-alive toward peers of 2024 (spec) */
#define SG_LINK_USER_TIMEOUT_MS 30000 /* TCP_USER_TIMEOUT toward peers of 2024 (own) */
#define SG_DIAL_TIMEOUT_MS      5000  /* TCP connect (own) */
#define SG_DIAL_BACKOFF_MIN_MS  200   /* doubled with jitter after each failure (own) */
#define SG_DIAL_BACKOFF_MAX_MS  5000  /* (own; P15 asks p99 <= 5 s) */

/* With  option memory 'small'  (own) */
#define SG_VSTREAM_CREDIT_SMALL (1024 * 1024)
#define SG_ROUTE_RX_SMALL       (2 * 1024 * 1024)
#define SG_VPN_QUEUE_SMALL      (512 * 1024)

/* VPN. */
#define SG_VPN_QUEUE_BYTES     (2 * 1024 * 1024) /* packets that wait, all clients of an exit (own) */
#define SG_VPN_PORT            44                /* (spec) */
#define SG_VPN_POOL_BITS_MIN   8                 /* of a pool's prefix; each client takes a block of eight (own) */
#define SG_VPN_POOL_BITS_MAX   28                /* two clients */
#define SG_VPN_HELLO_MAX       4096              /* bytes accepted (own); ours stay under 1024 (spec) */
#define SG_VPN_HELLO_MS        5000              /* (spec) */
#define SG_VPN_RECORD_HEAD     16                /* (contracts) */
#define SG_VPN_PACKET_MAX      65535
#define SG_VPN_PART_MAX        4016   /* bytes in one record of a route group: 63 cipher blocks with a head (own) */
#define SG_VPN_MTU             1500   /* (spec) */
#define SG_VPN_PROBE_MS        2000   /* between probes while connected (own) */
#define SG_VPN_PROBE_DEAD_MS   6000   /* no proof of life: blocking (P4) */
#define SG_VPN_LEASE_KEEP_MS   600000 /* a lease is kept for its key (contracts) */
#define SG_VPN_REFUSE_AFTER_MS 30000  /* IPv4 is refused, not dropped, once blocking lasted this long (contracts) */

/* Supervisor. (contracts) */
#define SG_HEARTBEAT_MS      1000
#define SG_HEARTBEAT_DEAD_MS 6000
#define SG_RESTART_MIN_MS    200
#define SG_RESTART_MAX_MS    5000
/*
 * The longest pause behind a run that had a proven path. A TCP connection whose packets were lost for a time T sends
 * again at about 2 T, and 200 of them do so in one burst of which some are lost again: with 5 s, connections through the
 * VPN would not continue within 10 s.
 */
#define SG_RESTART_PROVEN_MAX_MS 1600
#define SG_RESTART_CONF_MS       60000 /* where it says that its configuration is not valid */
#define SG_RESTART_RESET_MS      60000
#define SG_NETD_MSG_MAX          4096 /* bytes of one message between netd and core */

/* What strangers and services answer. A value in memory takes fifty times what it took on the line. */
#define SG_JSON_DEPTH_MAX   64            /* of values within values (own: each level is stack) */
#define SG_JSON_VALUES_MAX  32768         /* values of one JSON text (own; 2,700 exits of the service discovery) */
#define SG_SERVICE_BODY_MAX (64 * 1024)   /* bytes of one answer of a service (own) */
#define SG_SERVICE_LIST_MAX (1024 * 1024) /* the same of those that answer with lists (own) */

/* Configuration and control. */
#define SG_CONF_FILE_MAX    (1024 * 1024) /* bytes (own) */
#define SG_CONF_VALUE_MAX   4096          /* bytes of one value (own) */
#define SG_CONF_SECTIONS    4096
#define SG_CONF_OPTIONS     256   /* different options of one section (own) */
#define SG_CONF_NAME_MAX    64    /* bytes of a type or name (own) */
#define SG_CONF_FINDINGS    50    /* syntax errors told before giving up on a file (own) */
#define SG_CONTROL_LINE_MAX 65536 /* bytes of one JSON-RPC object (contracts) */
#define SG_CONTROL_CLIENTS  32    /* connections at once of each role (own) */
#define SG_CONTROL_LOOKS    40    /* requests of all who may only look: at once (own) */
#define SG_CONTROL_LOOKS_S  10    /* and then of each connection each second (own) */

#endif
