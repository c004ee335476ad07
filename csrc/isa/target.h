/* target.h - what every isa/<name>.c includes before it sets its target: the headers that must not see it. */
#include "../kernels/kernels.h"
#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif
