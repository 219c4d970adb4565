/* What this process holds, as the kernel counts it. */
#ifndef SG_BASE_MEMORY_H
#define SG_BASE_MEMORY_H

#include <skygate/types.h>

SG_BEGIN_DECLS

/** sg_memory_pss - bytes, of each page shared with others our part; 0 where the kernel does not say. Any thread. */
uint64_t sg_memory_pss(void);
/** sg_memory_resident - bytes, shared pages (libraries) in full; 0 where /proc is not mounted. Any thread. */
uint64_t sg_memory_resident(void);

SG_END_DECLS
#endif
