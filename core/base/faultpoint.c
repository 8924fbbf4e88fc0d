#include "base/faultpoint.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/say.h"
#include "base/slice.h"

enum { FAULT_CLAUSES_MAX = 16, ACTION_KILL = -2 };

/* One armed clause. */
struct fault_clause {
    enum fault_point_id point;
    unsigned long from;
    bool on; /* not only the one passing */
    int action;
    bool told;
};

static const char *const point_names[] = {
#define FAULT_POINT_NAME(id, name, what) name,
    FAULT_POINTS(FAULT_POINT_NAME)
#undef FAULT_POINT_NAME
};

static const struct {
    const char *name;
    int action;
} actions[] = {{"EIO", EIO},
               {"ENOSPC", ENOSPC},
               {"EDQUOT", EDQUOT},
               {"ENOMEM", ENOMEM},
               {"EMFILE", EMFILE},
               {"EACCES", EACCES},
               {"EROFS", EROFS},
               {"EINTR", EINTR},
               {"EFBIG", EFBIG},
               {"EAGAIN", EAGAIN},
               {"short", FAULT_POINT_SHORT},
               {"kill", ACTION_KILL}};

atomic_bool fault_points_armed;
static pthread_mutex_t clauses_lock = PTHREAD_MUTEX_INITIALIZER; /* tests arm while others pass */
static struct fault_clause clauses[FAULT_CLAUSES_MAX];
static size_t clause_count;
static atomic_ulong passed[FAULT_POINT_COUNT];

static const char *action_name(int action)
{
    for (size_t at = 0; at < sizeof actions / sizeof *actions; at++)
        if (actions[at].action == action) return actions[at].name;
    return "none";
}

/* Under the lock. */
static int clauses_fire(enum fault_point_id point, unsigned long passing)
{
    for (size_t at = 0; at < clause_count; at++) {
        struct fault_clause *clause = &clauses[at];
        if (clause->point != point || passing < clause->from || (passing > clause->from && !clause->on))
            continue;
        if (!clause->told)
            say_warn("fault point %s fires at passing %lu: %s", point_names[point], passing,
                     action_name(clause->action));
        clause->told = true;
        return clause->action;
    }
    return 0;
}

int fault_point_fire(enum fault_point_id point)
{
    unsigned long passing = atomic_fetch_add(&passed[point], 1) + 1;
    pthread_mutex_lock(&clauses_lock);
    int action = clauses_fire(point, passing);
    pthread_mutex_unlock(&clauses_lock);
    if (action == ACTION_KILL) kill(getpid(), SIGKILL);
    if (action) errno = action > 0 ? action : EIO;
    return action;
}

/* The whole clause without its action or passing, found in a table of names; -1: none of them. */
static int clause_name(struct slice name)
{
    for (int at = 0; at < FAULT_POINT_COUNT; at++)
        if (slice_equal(name, slice_of(point_names[at]))) return at;
    return -1;
}

static int clause_action(struct slice name, int *action)
{
    for (size_t at = 0; at < sizeof actions / sizeof *actions; at++) {
        if (!slice_equal(name, slice_of(actions[at].name))) continue;
        *action = actions[at].action;
        return 0;
    }
    return -1;
}

/* NAME[@N[+]][=ACTION] */
static int clause_parse(struct slice text, struct fault_clause *clause)
{
    *clause = (struct fault_clause){.from = 1, .action = EIO};
    const char *equals = memchr(text.data, '=', text.size);
    struct slice left = slice_make(text.data, equals ? (size_t)(equals - text.data) : text.size);
    if (equals && clause_action(slice_make(equals + 1, text.size - left.size - 1), &clause->action) < 0)
        return -1;
    const char *at = memchr(left.data, '@', left.size);
    struct slice name = slice_make(left.data, at ? (size_t)(at - left.data) : left.size);
    int point = clause_name(name);
    if (point < 0) return -1;
    clause->point = (enum fault_point_id)point;
    if (!at) return 0;
    const char *digit = at + 1, *end = left.data + left.size;
    if (end > digit && end[-1] == '+') {
        clause->on = true;
        end--;
    }
    if (digit == end || end - digit > 9) return -1;
    for (clause->from = 0; digit < end; digit++) {
        if (*digit < '0' || *digit > '9') return -1;
        clause->from = clause->from * 10 + (unsigned long)(*digit - '0');
    }
    return clause->from ? 0 : -1;
}

/* Under the lock. */
static int clauses_arm(const char *text, struct fault *fault)
{
    while (text && *text) {
        size_t size = strcspn(text, ",");
        struct slice clause = slice_make(text, size);
        if (!slice_equal(clause, slice_of("none"))) {
            if (clause_count == FAULT_CLAUSES_MAX)
                return fault_set(fault, FAULT_USAGE, "more than %d fault points armed", FAULT_CLAUSES_MAX);
            if (clause_parse(clause, &clauses[clause_count]) < 0)
                return fault_set(fault, FAULT_USAGE, "fault point '%.*s': NAME[@N[+]][=ACTION] expected",
                                 SLICE_ARGS(clause));
            clause_count++;
        }
        atomic_store(&fault_points_armed, true);
        text += size + (text[size] == ',');
    }
    return 0;
}

int fault_points_arm(const char *text, struct fault *fault)
{
    pthread_mutex_lock(&clauses_lock);
    int done = clauses_arm(text, fault);
    pthread_mutex_unlock(&clauses_lock);
    return done;
}

void fault_points_disarm(void)
{
    atomic_store(&fault_points_armed, false);
    pthread_mutex_lock(&clauses_lock);
    clause_count = 0;
    pthread_mutex_unlock(&clauses_lock);
    for (int at = 0; at < FAULT_POINT_COUNT; at++) atomic_store(&passed[at], 0);
}

unsigned long fault_point_passed(enum fault_point_id point)
{
    return atomic_load(&passed[point]);
}

const char *fault_point_name(enum fault_point_id point)
{
    return point_names[point];
}

void fault_points_tell(void)
{
    if (!atomic_load(&fault_points_armed)) return;
    for (int at = 0; at < FAULT_POINT_COUNT; at++) {
        unsigned long count = fault_point_passed((enum fault_point_id)at);
        if (count) say_warn("fault point %s was passed %lu times", point_names[at], count);
    }
}
