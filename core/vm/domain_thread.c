#include "vm/domain.h"
#include "vm/vm.h"

void domain_thread_start(void)
{
    vm_watchdog_start();
}

void domain_thread_stop(void)
{
    vm_watchdog_stop();
}
