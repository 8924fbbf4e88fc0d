#include "vm/watchdog.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/check.h"
#include "base/say.h"

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

/* Only the thread itself and its signal handler touch these. */
static _Thread_local struct {
    struct vm *volatile vm;
    volatile unsigned calls;  /* entered so far on this thread, whatever state they were of */
    volatile unsigned serial; /* the one that ticks are counted for */
    volatile int ticks;
    timer_t timer;
    bool started;
} watch;

bool watchdog_leash_ended(const struct vm_leash *leash)
{
    struct timespec now;
    if (atomic_load(leash->cancelled)) return true;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec >= leash->until_ns;
}

static void on_tick(int signal_number)
{
    int error = errno;
    struct vm *vm = watch.vm;
    if (vm && vm->running) {
        if (watch.calls != watch.serial) {
            watch.serial = watch.calls;
            watch.ticks = 0;
        }
        watch.ticks++;
        /* The first tick of a call may come at once: it does not count. */
        int limit = vm->exact ? WATCHDOG_EXACT_TICKS : LIMIT_WATCHDOG_TICKS;
        if (vm->leash ? watchdog_leash_ended(vm->leash) : watch.ticks > limit) {
            vm->overtime = 1;
            lua_sethook(vm->lua, watchdog_hook, LUA_MASKCOUNT, 1);
        }
    }
    errno = error;
}

static void install_handler(void)
{
    struct sigaction action = {.sa_handler = on_tick, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGRTMIN, &action, NULL) == 0);
}

void vm_watchdog_start(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (watch.started) return;
    pthread_once(&once, install_handler);
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
    event.sigev_notify_thread_id = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &watch.timer) < 0)
        say_stop("no timer for the watchdog of scripts: %s", strerror(errno));
    struct timespec tick = {.tv_nsec = LIMIT_WATCHDOG_TICK_MS * 1000000L};
    struct itimerspec period = {.it_interval = tick, .it_value = tick};
    CHECK(timer_settime(watch.timer, 0, &period, NULL) == 0);
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    watch.started = true;
}

void watchdog_poll(void)
{
    struct timespec now;
    if (WATCHDOG_POLLS) clock_gettime(CLOCK_MONOTONIC, &now);
}

void vm_watchdog_stop(void)
{
    if (!watch.started) return;
    timer_delete(watch.timer);
    watch.started = false;
}

struct vm *watchdog_enter(struct vm *vm)
{
    struct vm *before = watch.vm;
    watch.calls++;
    vm->running = 1;
    atomic_signal_fence(memory_order_seq_cst);
    watch.vm = vm;
    return before;
}

void watchdog_leave(struct vm *vm, struct vm *before)
{
    watch.vm = before;
    vm->running = 0;
    /* From here on no tick arms the hook, so the caller can take it away. */
    atomic_signal_fence(memory_order_seq_cst);
}
