/* plan.h - how a plan function refuses: it names the argument, its values and the rule. */
#ifndef FASTCONV_PLAN_H
#define FASTCONV_PLAN_H

#include "common.h"
#include "fastconv.h"

static inline fc_status fc_refuse(fc_error *error, fc_status status, const char *argument, const char *rule, int count,
                                  const int64_t *values) {
    error->argument = argument;
    error->rule = rule;
    error->count = count;
    for (int i = 0; i < count; i++) error->values[i] = values[i];
    return status;
}

#define FC_REFUSE(error, status, argument, rule, ...)                                                                 \
    fc_refuse(error, status, argument, rule, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),               \
              (int64_t[]){__VA_ARGS__})

#endif
