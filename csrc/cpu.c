/* cpu.c - which instruction sets this build holds and this CPU runs. */
#include "kernels/kernels.h"

extern const fc_kernels fc_kernels__baseline;
#if defined(__x86_64__)
extern const fc_kernels fc_kernels__avx2;
extern const fc_kernels fc_kernels__avx512;
#endif

static const struct isa { const char *name; const fc_kernels *kernels; } isas[] = {
#if defined(__x86_64__)
    {"avx512", &fc_kernels__avx512},
    {"avx2", &fc_kernels__avx2},
#endif
    {"baseline", &fc_kernels__baseline},
};

enum { ISA_COUNT = sizeof isas / sizeof isas[0] };

/* __builtin_cpu_supports also asks the operating system (xgetbv) whether it saves the wide registers. */
static bool cpu_has(const char *name) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!strcmp(name, "avx512"))
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (!strcmp(name, "avx2")) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return !strcmp(name, "baseline");
}

int fc_isa_count(void) { return ISA_COUNT; }

const char *fc_isa_name(int index) { return isas[index].name; }

const fc_kernels *fc_isa_kernels(int index) { return cpu_has(isas[index].name) ? isas[index].kernels : NULL; }
