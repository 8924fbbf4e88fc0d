#include "run/outage.h"

#include "base/say.h"

enum { OUTAGE_NONE, OUTAGE_ROOM, OUTAGE_OTHER };

void outage_init(struct outage *outage, bool quiet)
{
    *outage = (struct outage){.quiet = quiet};
    pthread_mutex_init(&outage->lock, NULL);
}

void outage_release(struct outage *outage)
{
    pthread_mutex_destroy(&outage->lock);
}

void outage_met(struct outage *outage, struct outage_part *part, const char *what, const struct fault *fault)
{
    pthread_mutex_lock(&outage->lock);
    if (atomic_load(&part->state) == OUTAGE_NONE) {
        bool full = fault_is_full(fault);
        atomic_store(&part->state, full ? OUTAGE_ROOM : OUTAGE_OTHER);
        bool first = !full || outage->without_room++ == 0;
        if (first && !outage->quiet)
            say_error("%s: %s", full ? fault->text : what,
                      full ? "what needs room there is refused or waits" : fault->text);
    }
    pthread_mutex_unlock(&outage->lock);
}

/* What the part was in. */
static int end(struct outage *outage, struct outage_part *part)
{
    int state = atomic_exchange(&part->state, OUTAGE_NONE);
    if (state == OUTAGE_ROOM) outage->without_room--;
    return state;
}

void outage_over(struct outage *outage, struct outage_part *part, const char *what)
{
    if (atomic_load_explicit(&part->state, memory_order_relaxed) == OUTAGE_NONE) return;
    pthread_mutex_lock(&outage->lock);
    int state = end(outage, part);
    bool last = state == OUTAGE_ROOM && outage->without_room == 0;
    if (state == OUTAGE_OTHER && !outage->quiet)
        say_info("%s: works again", what);
    else if (last && !outage->quiet)
        say_info("there is room on the disk again");
    pthread_mutex_unlock(&outage->lock);
}

void outage_forget(struct outage *outage, struct outage_part *part)
{
    pthread_mutex_lock(&outage->lock);
    end(outage, part);
    pthread_mutex_unlock(&outage->lock);
}
