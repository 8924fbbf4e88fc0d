#include "base/fault.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    int http_status;
    int exit_code;
} fault_table[FAULT_CODE_COUNT] = {
    [FAULT_NONE] = {"none", 200, 0},
    [FAULT_MALFORMED] = {"malformed", 400, 1},
    [FAULT_CONTRACT] = {"contract", 400, 1},
    [FAULT_UNKNOWN_COMMAND] = {"unknown_command", 400, 1},
    [FAULT_NOT_FOUND] = {"not_found", 404, 1},
    [FAULT_CONFLICT] = {"conflict", 409, 1},
    [FAULT_TOO_LARGE] = {"too_large", 413, 1},
    [FAULT_REJECTED] = {"rejected", 422, 1},
    [FAULT_ID_REUSED] = {"id_reused", 422, 1},
    [FAULT_BUSY] = {"busy", 429, 1},
    [FAULT_UNAVAILABLE] = {"unavailable", 503, 3},
    [FAULT_REBUILDING] = {"rebuilding", 503, 1},
    [FAULT_GONE] = {"gone", 410, 1},
    [FAULT_LAGGING] = {"lagging", 503, 1},
    [FAULT_SCRIPT] = {"script", 500, 1},
    [FAULT_BUDGET] = {"script", 500, 1},
    [FAULT_DISK] = {"disk", 503, 3},
    [FAULT_CORRUPT] = {"corrupt", 500, 3},
    [FAULT_IN_USE] = {"in_use", 503, 3},
    [FAULT_PERMISSION] = {"permission", 503, 3},
    [FAULT_USAGE] = {"usage", 400, 2},
    [FAULT_REFUSED] = {"refused", 409, 1},
    [FAULT_SCRIPTS] = {"scripts", 422, 1},
    [FAULT_CANCELLED] = {"cancelled", 409, 1},
    [FAULT_METHOD] = {"method_not_allowed", 405, 2},
    [FAULT_INTERNAL] = {"internal", 500, 3},
};

static void fault_fill(struct fault *fault, enum fault_code code, const char *format, va_list args)
{
    fault->code = code;
    fault->error = 0;
    fault->reason[0] = 0;
    /* Formatted aside, since an argument may point into fault->text itself. */
    char text[sizeof fault->text];
    vsnprintf(text, sizeof text, format, args);
    memcpy(fault->text, text, sizeof text);
}

int fault_set(struct fault *fault, enum fault_code code, const char *format, ...)
{
    if (!fault) return -1;
    va_list args;
    va_start(args, format);
    fault_fill(fault, code, format, args);
    va_end(args);
    return -1;
}

static enum fault_code fault_of_errno(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
    case EIO: return FAULT_DISK;
    case EACCES:
    case EPERM:
    case EROFS: return FAULT_PERMISSION;
    case ENOENT:
    case ENOTDIR: return FAULT_NOT_FOUND;
    case EADDRINUSE:
    case EBUSY:
    case EAGAIN: return FAULT_IN_USE;
    default: return FAULT_INTERNAL;
    }
}

int fault_errno(struct fault *fault, int error, const char *format, ...)
{
    if (!fault) return -1;
    va_list args;
    va_start(args, format);
    fault_fill(fault, fault_of_errno(error), format, args);
    va_end(args);
    fault->error = error;
    size_t size = strlen(fault->text);
    snprintf(fault->text + size, sizeof fault->text - size, ": %s", strerror(error));
    return -1;
}

bool fault_is_full(const struct fault *fault)
{
    return fault->error == ENOSPC || fault->error == EDQUOT || fault->error == EFBIG;
}

const char *fault_name(enum fault_code code)
{
    return fault_table[code].name;
}
int fault_http_status(enum fault_code code)
{
    return fault_table[code].http_status;
}
int fault_exit_code(enum fault_code code)
{
    return fault_table[code].exit_code;
}

enum fault_code fault_code_of(const char *name)
{
    for (int code = 0; code < FAULT_CODE_COUNT; code++)
        if (strcmp(fault_table[code].name, name) == 0) return (enum fault_code)code;
    return FAULT_INTERNAL;
}
