#include "vm/seek_crew.h"

#include <errno.h>
#include <lauxlib.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "base/mem.h"
#include "base/thread.h"
#include "vm/seek_carry.h"

enum {
    CHUNK = 16384, /* positions */
    WORKERS_MAX = 16,
    AHEAD = 2,      /* chunks of rows for each thread that wait to be taken */
    LEAST = 3,      /* chunks that are worth the threads */
    LOOK_EVERY = 64 /* events between two looks whether it goes on */
};

struct row_head { /* of each row of a chunk; its bytes follow */
    uint64_t order;
    uint32_t size;
    bool is_hit; /* the bytes are the record's, the order is the event's position; else a packed row */
};

struct chunk {
    struct buf rows;
    bool is_done, failed;
};

struct worker {
    struct seek_crew *crew;
    pthread_t thread;
    struct vm *vm;
    struct seek_program program;
    struct seek_cursor *cursor;
    struct chunk *chunk; /* that rows go to */
    uint64_t from, to;   /* of the chunk at hand */
    uint64_t told;       /* what lies before is in crew->looked_at */
};

struct seek_crew {
    struct seek_program *program; /* the session's */
    const struct seek_source *source;
    struct seek_scan *scan;
    struct seek_parcel parcel;
    size_t *numbers; /* of the program's functions, in the order of each_function */
    size_t free_stages;
    bool folds;
    size_t memory_max;
    uint64_t from;
    atomic_bool ending;
    struct vm_leash leash;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    struct chunk *chunks;
    size_t chunk_count, next, taken, done; /* next to be given out, to be taken; done: of those given out */
    size_t end;                            /* no chunk from here on is of use: a first row was found before */
    bool gave_up;
    atomic_uint_fast64_t looked_at;
    const struct names *_Atomic names; /* of the records that rows came with */
    struct worker workers[WORKERS_MAX];
    int worker_count, started, joined;
};

/* --- its parts --- */

static struct seek_function *function_at(struct seek_program *program, size_t free_stages, size_t at)
{
    if (at < free_stages) return &program->stages[at].function;
    if (at == free_stages) return &program->group;
    return at == free_stages + 1 ? &program->value : NULL;
}

/* False: one of the functions cannot be carried. */
static bool pack_functions(struct seek_crew *crew, int env)
{
    lua_State *lua = crew->program->lua;
    struct seek_function *function;
    crew->numbers = mem_zero((crew->free_stages + 2) * sizeof *crew->numbers);
    for (size_t at = 0; (function = function_at(crew->program, crew->free_stages, at)); at++) {
        if (function->kind != SEEK_LUA || (at >= crew->free_stages && !crew->folds)) continue;
        lua_rawgeti(lua, LUA_REGISTRYINDEX, function->ref);
        bool packed = seek_carry_pack(lua, env, -1, &crew->parcel, &crew->numbers[at]);
        lua_pop(lua, 1);
        if (!packed) return false;
    }
    return seek_carry_pack_globals(lua, env, &crew->parcel);
}

/* An event that no function has made something else of goes on as it came: with its record, so that nobody
 * reads it again. */
static void give_row(struct seek_program *program, struct seek_row *row)
{
    struct worker *worker = program->user;
    struct buf *rows = &worker->chunk->rows;
    struct row_head head = {.order = row->order, .is_hit = row->is_hit};
    size_t at = rows->size;
    buf_put(rows, &head, sizeof head);
    if (row->is_hit)
        buf_put_slice(rows, program->hit->record->bytes);
    else
        seek_row_pack(program, row, rows);
    head.size = (uint32_t)(rows->size - at - sizeof head);
    memcpy(rows->data + at, &head, sizeof head);
    if (row->is_hit) worker->crew->names = program->hit->record->names;
    if (rows->size > program->memory_max)
        vm_raise(program->lua, FAULT_BUDGET, 1, "the rows of a query need too much memory");
}

/* In the worker's state, inside a vm_call: its program. */
static int open_worker(lua_State *lua)
{
    struct worker *worker = lua_touserdata(lua, 1);
    struct seek_crew *crew = worker->crew;
    struct seek_program *program = &worker->program, *session = crew->program;
    struct seek_function *from;
    struct seek_reader *reader = seek_reader_push(lua, NULL);
    luaL_ref(lua, LUA_REGISTRYINDEX);
    seek_program_open(program, lua, reader);
    seek_carry_open(lua, &crew->parcel);
    for (size_t at = 0; at < crew->free_stages; at++) seek_program_add(program, session->stages[at].kind);
    for (size_t at = 0; (from = function_at(session, crew->free_stages, at)); at++) {
        if (at >= crew->free_stages && !crew->folds) break;
        struct seek_function *to = function_at(program, crew->free_stages, at);
        *to = seek_function_path(from);
        if (from->kind != SEEK_LUA) continue;
        seek_carry_push(lua, crew->numbers[at]);
        to->ref = luaL_ref(lua, LUA_REGISTRYINDEX);
    }
    program->has_end = crew->folds;
    program->plan = session->plan;
    program->memory_max = crew->memory_max;
    program->give = give_row;
    program->user = worker;
    seek_program_begin(program);
    return 0;
}

/* --- the threads --- */

static void tell(struct worker *worker, uint64_t position)
{
    if (position > worker->to + 1) position = worker->to + 1;
    atomic_fetch_add_explicit(&worker->crew->looked_at, position - worker->told, memory_order_relaxed);
    worker->told = position;
}

static int run_chunk(lua_State *lua)
{
    struct worker *worker = lua_touserdata(lua, 1);
    struct seek_crew *crew = worker->crew;
    struct seek_program *program = &worker->program;
    struct seek_hit hit;
    struct fault fault;
    uint64_t position = worker->from;
    unsigned count = 0;
    if (crew->source->open(crew->scan, worker->from, worker->to, &worker->cursor, &fault) < 0)
        vm_raise(lua, fault.code, 0, "%s", fault.text);
    while (position <= worker->to && !program->enough) {
        int found = crew->source->next(worker->cursor, &hit, &position, &fault);
        if (found < 0) vm_raise(lua, fault.code, 0, "%s", fault.text);
        if (found > 0) seek_program_take(program, 0, &hit);
        if (++count % LOOK_EVERY != 0) continue;
        vm_spend(lua, 1);
        tell(worker, position);
        if (atomic_load_explicit(&crew->ending, memory_order_relaxed)) break;
    }
    seek_reader_end(program->reader);
    if (!seek_carry_is_pure(lua)) vm_raise(lua, FAULT_SCRIPT, 0, "this is done by the session itself");
    return 0;
}

static int call_worker(struct worker *worker, lua_CFunction function)
{
    struct fault ignored; /* the session's thread meets it again */
    lua_pushcfunction(worker->vm->lua, function);
    lua_pushlightuserdata(worker->vm->lua, worker);
    int done = vm_call(worker->vm, 1, 0, &ignored);
    if (worker->cursor) worker->crew->source->close(worker->cursor);
    worker->cursor = NULL;
    return done;
}

/* Waits until a chunk may be begun; false: there is none. */
static bool next_chunk(struct worker *worker, size_t *at)
{
    struct seek_crew *crew = worker->crew;
    pthread_mutex_lock(&crew->lock);
    while (!crew->folds && !crew->gave_up && !atomic_load(&crew->ending) && crew->next < crew->chunk_count &&
           crew->next >= crew->taken + (size_t)(AHEAD * crew->worker_count))
        pthread_cond_wait(&crew->changed, &crew->lock);
    bool goes_on = !crew->gave_up && !atomic_load(&crew->ending) && crew->next < crew->end;
    if (goes_on) *at = crew->next++;
    pthread_mutex_unlock(&crew->lock);
    return goes_on;
}

static void end_chunk(struct worker *worker, size_t at, bool failed)
{
    struct seek_crew *crew = worker->crew;
    pthread_mutex_lock(&crew->lock);
    crew->chunks[at].is_done = true;
    crew->chunks[at].failed = failed;
    crew->done++;
    if (failed) crew->gave_up = true;
    if (worker->program.enough && at + 1 < crew->end) crew->end = at + 1;
    pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->lock);
    tell(worker, worker->to + 1);
}

static void *run_worker(void *user)
{
    struct worker *worker = user;
    struct seek_crew *crew = worker->crew;
    struct vm_options options = {.memory_max = crew->memory_max};
    size_t at;
    vm_watchdog_start();
    worker->vm = vm_new(&options);
    vm_forget_libraries(worker->vm);
    worker->vm->leash = &crew->leash;
    bool failed = call_worker(worker, open_worker) < 0;
    while (!failed && next_chunk(worker, &at)) {
        worker->from = crew->from / CHUNK * CHUNK + at * CHUNK;
        worker->to = worker->from + CHUNK - 1;
        if (worker->from < crew->from) worker->from = crew->from;
        if (worker->to > crew->scan->last) worker->to = crew->scan->last;
        worker->told = worker->from;
        worker->chunk = &crew->chunks[at];
        failed = call_worker(worker, run_chunk) < 0;
        end_chunk(worker, at, failed);
    }
    if (failed) {
        pthread_mutex_lock(&crew->lock);
        crew->gave_up = true;
        pthread_cond_broadcast(&crew->changed);
        pthread_mutex_unlock(&crew->lock);
    }
    vm_watchdog_stop();
    return NULL;
}

/* --- for the session --- */

static int cores(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0) return 1;
    int count = CPU_COUNT(&set);
    return count < WORKERS_MAX ? count : WORKERS_MAX;
}

bool seek_crew_start(struct seek_program *program, int env, const struct seek_source *source,
                     struct seek_scan *scan, uint64_t from, struct seek_crew **made)
{
    uint64_t chunks = from > scan->last ? 0 : scan->last / CHUNK - from / CHUNK + 1;
    int count = cores();
    size_t free_stages = seek_program_free_stages(program);
    bool folds = program->has_end && free_stages == program->stage_count;
    if (scan->is_single || count < 2 || chunks < LEAST || (!folds && free_stages == 0)) return false;
    struct seek_crew *crew = *made = MEM_NEW(struct seek_crew);
    crew->program = program;
    crew->source = source;
    crew->scan = scan;
    crew->from = from;
    crew->free_stages = free_stages;
    crew->folds = folds;
    crew->leash = (struct vm_leash){.cancelled = &crew->ending, .until_ns = INT64_MAX};
    crew->worker_count = (uint64_t)count < chunks ? count : (int)chunks;
    crew->memory_max = program->memory_max / (size_t)crew->worker_count;
    crew->chunk_count = crew->end = (size_t)chunks;
    pthread_mutex_init(&crew->lock, NULL);
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&crew->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    bool packed = pack_functions(crew, env);
    seek_carry_packed(program->lua, &crew->parcel);
    if (!packed) {
        seek_crew_free(crew);
        *made = NULL;
        return false;
    }
    crew->chunks = mem_zero(crew->chunk_count * sizeof *crew->chunks);
    for (int at = 0; at < crew->worker_count; at++) {
        crew->workers[at].crew = crew;
        crew->workers[at].thread = thread_start(run_worker, &crew->workers[at], "query %d", at + 1);
        crew->started++;
    }
    return true;
}

enum seek_crew_state seek_crew_wait(struct seek_crew *crew, int timeout_ms)
{
    struct timespec until;
    enum seek_crew_state state = SEEK_CREW_WORKS;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += timeout_ms * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    pthread_mutex_lock(&crew->lock);
    for (bool waits = true; waits;) {
        if (!crew->folds && crew->taken < crew->chunk_count && crew->chunks[crew->taken].is_done &&
            !crew->chunks[crew->taken].failed)
            state = SEEK_CREW_ROWS;
        else if (crew->gave_up)
            state = SEEK_CREW_GAVE_UP;
        else if (crew->folds ? crew->next >= crew->end && crew->done == crew->next
                             : crew->taken == crew->chunk_count)
            state = SEEK_CREW_DONE;
        waits = state == SEEK_CREW_WORKS &&
                pthread_cond_timedwait(&crew->changed, &crew->lock, &until) != ETIMEDOUT;
    }
    pthread_mutex_unlock(&crew->lock);
    return state;
}

/* The event at that position of a record's bytes. */
static void take_hit(struct seek_crew *crew, struct slice bytes, uint64_t position)
{
    struct seek_program *program = crew->program;
    struct record record;
    struct fault fault;
    struct seek_hit hit = {.record = &record};
    if (record_open(bytes, NULL, &record, &fault) < 0)
        vm_raise(program->lua, fault.code, 0, "%s", fault.text);
    record.names = crew->names;
    while (record_next_event(&record, &hit.event) && hit.event.position != position) continue;
    seek_program_take(program, crew->free_stages, &hit);
    seek_reader_end(program->reader);
}

void seek_crew_take(struct seek_crew *crew)
{
    struct seek_program *program = crew->program;
    struct buf *rows = &crew->chunks[crew->taken].rows;
    const char *at = rows->data, *end = rows->data + rows->size;
    while (at < end && !program->enough) {
        struct row_head head;
        memcpy(&head, at, sizeof head);
        struct slice bytes = slice_make(at + sizeof head, head.size);
        at = bytes.data + bytes.size;
        vm_spend(program->lua, 8);
        if (head.is_hit)
            take_hit(crew, bytes, head.order);
        else
            seek_program_take_packed(program, crew->free_stages, head.order, bytes);
    }
    buf_release(rows);
    pthread_mutex_lock(&crew->lock);
    crew->taken++;
    pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->lock);
}

/* No worker runs behind it. */
static void dismiss(struct seek_crew *crew)
{
    pthread_mutex_lock(&crew->lock);
    atomic_store(&crew->ending, true);
    pthread_cond_broadcast(&crew->changed);
    pthread_mutex_unlock(&crew->lock);
    for (; crew->joined < crew->started; crew->joined++)
        pthread_join(crew->workers[crew->joined].thread, NULL);
}

/* All chunks are done, but a worker that found none left may just be beginning. */
int seek_crew_merge(struct seek_crew *crew, struct fault *fault)
{
    dismiss(crew);
    for (int at = 0; crew->folds && at < crew->started; at++)
        if (seek_fold_merge(&crew->program->fold, &crew->workers[at].program.fold, fault) < 0) return -1;
    return 0;
}

uint64_t seek_crew_progress(struct seek_crew *crew)
{
    return atomic_load(&crew->looked_at);
}

uint64_t seek_crew_position(const struct seek_crew *crew)
{
    if (crew->taken == 0) return crew->from;
    return crew->from / CHUNK * CHUNK + crew->taken * CHUNK;
}

void seek_crew_free(struct seek_crew *crew)
{
    if (!crew) return;
    dismiss(crew);
    for (int at = 0; at < crew->started; at++) {
        struct worker *worker = &crew->workers[at];
        seek_program_close(&worker->program);
        vm_free(worker->vm);
    }
    for (size_t at = 0; crew->chunks && at < crew->chunk_count; at++) buf_release(&crew->chunks[at].rows);
    pthread_cond_destroy(&crew->changed);
    pthread_mutex_destroy(&crew->lock);
    seek_parcel_release(&crew->parcel);
    mem_free(crew->numbers);
    mem_free(crew->chunks);
    mem_free(crew);
}
