#include "vm/ask_core.h"

int ask_complete(struct ask *ask, struct slice text, struct buf *members, struct fault *fault)
{
    return fault_set(fault, FAULT_UNAVAILABLE, "completion comes next");
}

int ask_help(struct ask *ask, struct slice name, struct buf *text, struct fault *fault)
{
    return fault_set(fault, FAULT_UNAVAILABLE, "help comes next");
}
