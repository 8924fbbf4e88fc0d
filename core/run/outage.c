#include "run/outage.h"

#include "base/clock.h"
#include "base/say.h"

enum { OUTAGE_NONE, OUTAGE_ROOM, OUTAGE_OTHER };
enum { OUTAGE_AGAIN_MS = 5000 };

void outage_init(struct outage *outage, bool quiet)
{
    *outage = (struct outage){.quiet = quiet};
    pthread_mutex_init(&outage->lock, NULL);
}

void outage_release(struct outage *outage)
{
    pthread_mutex_destroy(&outage->lock);
}

/* Whether it is to be told now that it began. */
static bool tell(struct outage *outage, struct outage_told *told)
{
    int64_t now_ns = clock_monotonic_ns();
    if (told->told || outage->quiet) return false;
    if (told->told_at_ns && now_ns - told->told_at_ns < OUTAGE_AGAIN_MS * 1000000LL) return false;
    told->told_at_ns = now_ns;
    return told->told = true;
}

void outage_met(struct outage *outage, struct outage_part *part, const char *what, const struct fault *fault)
{
    pthread_mutex_lock(&outage->lock);
    bool full = fault_is_full(fault);
    if (atomic_load(&part->state) == OUTAGE_NONE) {
        atomic_store(&part->state, full ? OUTAGE_ROOM : OUTAGE_OTHER);
        outage->without_room += full;
    }
    if (tell(outage, full ? &outage->room : &part->other))
        say_error("%s: %s", full ? fault->text : what,
                  full ? "what needs room there is refused or waits" : fault->text);
    pthread_mutex_unlock(&outage->lock);
}

static void end(struct outage *outage, struct outage_part *part)
{
    if (atomic_exchange(&part->state, OUTAGE_NONE) == OUTAGE_ROOM) outage->without_room--;
}

void outage_over(struct outage *outage, struct outage_part *part, const char *what)
{
    if (atomic_load_explicit(&part->state, memory_order_relaxed) == OUTAGE_NONE) return;
    pthread_mutex_lock(&outage->lock);
    end(outage, part);
    if (part->other.told) say_info("%s: works again", what);
    part->other.told = false;
    if (outage->without_room == 0 && outage->room.told) {
        say_info("there is room on the disk again");
        outage->room.told = false;
    }
    pthread_mutex_unlock(&outage->lock);
}

void outage_forget(struct outage *outage, struct outage_part *part)
{
    pthread_mutex_lock(&outage->lock);
    end(outage, part);
    if (outage->without_room == 0) outage->room.told = false;
    pthread_mutex_unlock(&outage->lock);
}
