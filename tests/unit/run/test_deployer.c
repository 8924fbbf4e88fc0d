/* Deploys of a running hub: nothing is lost, torn or left behind when the code under everything changes. Each
 * version of the scripts writes its number into what it does, and that number is its deploy's, so every event
 * tells whether the code that its commit names is the code that made it. */
#include <dirent.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "base/faultpoint.h"
#include "codec/mp.h"
#include "run_support.h"

enum { SCRIPTS_MAX = 10, WORKERS = 5 };

/* --- scripts --- */

struct scripts {
    struct deploy_text texts[SCRIPTS_MAX];
    size_t count;
};

static const char contracts[] = "contracts [[\n"
                                "  Mark?\n"
                                "  Marked! (by: integer)\n"
                                "  Ring?\n"
                                "  Rang!   (by: integer)\n"
                                "  Ticked! (by: integer)\n"
                                "]]\n";
static const char still[] = "local still = projection 'still' { initial = { n = 0 } }\n"
                            "function still.when.Marked(view, e) view.n = view.n + 1 end\n";
static const char names[] = "local names = projection 'names' { initial = { n = 0 } }\n"
                            "function names.when.Marked(view, e) view.n = view.n + 2 end\n";

static void put_script(struct scripts *scripts, const char *path, const char *text)
{
    scripts->texts[scripts->count++] = (struct deploy_text){slice_of(path), slice_of(strdup(text))};
}

static void put_numbered(struct scripts *scripts, const char *path, const char *format, int number)
{
    char text[1024];
    snprintf(text, sizeof text, format, number);
    put_script(scripts, path, text);
}

/* What only the view's fold differs in is a version of its own. */
static struct scripts version_with_view(int number, int view)
{
    struct scripts scripts = {0};
    put_script(&scripts, "bank/contracts.lua", contracts);
    put_script(&scripts, "bank/still.lua", still);
    put_numbered(&scripts, "bank/account.lua",
                 "local account = aggregate 'account' { initial = { marks = 0 } }\n"
                 "function account.apply.Marked(state, e) state.marks = state.marks + 1 end\n"
                 "function account.execute.Mark() return Marked { by = %d } end\n",
                 number);
    put_numbered(&scripts, "bank/mail.lua",
                 "local mail = service 'mail'\n"
                 "function mail.when.Ring(c) publish(Rang { by = %d }) end\n",
                 number);
    put_script(&scripts, "bank/echo.lua",
               "local echo = receptor 'echo'\n"
               "function echo.when.Rang(e, m) send.account('echo', Mark {}) end\n");
    put_numbered(&scripts, "bank/tick.lua",
                 "local tick = task 'tick' { every = '1h' }\n"
                 "function tick.run(now) publish(Ticked { by = %d }) end\n",
                 number);
    put_numbered(&scripts, "bank/marks.lua",
                 "local marks = projection 'marks' { initial = { n = 0 } }\n"
                 "function marks.when.Marked(view, e) view.n, view.code = view.n + 1, %d end\n",
                 view);
    return scripts;
}

static struct scripts version(int number)
{
    return version_with_view(number, number);
}

static void drop_script(struct scripts *scripts, const char *path)
{
    for (size_t at = 0; at < scripts->count; at++)
        if (slice_is(scripts->texts[at].path, path)) {
            free((char *)scripts->texts[at].text.data);
            scripts->texts[at] = scripts->texts[--scripts->count];
            return;
        }
    fail_msg("no script %s", path);
}

static void free_scripts(struct scripts *scripts)
{
    for (size_t at = 0; at < scripts->count; at++) free((char *)scripts->texts[at].text.data);
    scripts->count = 0;
}

static void write_scripts(struct scripts scripts)
{
    for (size_t at = 0; at < scripts.count; at++)
        write_script(scripts.texts[at].path.data, scripts.texts[at].text.data);
    free_scripts(&scripts);
}

/* --- deploys --- */

struct given {
    struct deploy_order order;
    sem_t done;
};

static void given_done(struct deploy_order *order)
{
    sem_post(&((struct given *)order->user)->done);
}

/* Frees the scripts. */
static void give(struct hub *hub, struct given *given, enum deploy_order_kind kind, struct scripts scripts)
{
    struct fault fault;
    given->order.kind = kind;
    given->order.texts = scripts.texts;
    given->order.text_count = scripts.count;
    given->order.done = given_done;
    given->order.user = given;
    sem_init(&given->done, 0, 0);
    if (hub_deploy(hub, &given->order, &fault) < 0) fail_msg("%s", fault.text);
    free_scripts(&scripts);
}

static struct given *take(struct given *given)
{
    while (sem_wait(&given->done) < 0) continue;
    sem_destroy(&given->done);
    return given;
}

static bool reports(const struct given *given, const char *text)
{
    struct slice report = buf_slice(&given->order.report);
    return report.size && memmem(report.data, report.size, text, strlen(text));
}

static uint64_t expect_order(struct hub *hub, enum deploy_order_kind kind, struct scripts scripts,
                             bool replay, enum fault_code code)
{
    struct given given = {.order = {.replay = replay}};
    give(hub, &given, kind, scripts);
    take(&given);
    if (given.order.fault.code != code)
        fail_msg("%s: %s", fault_name(given.order.fault.code), given.order.fault.text);
    buf_release(&given.order.report);
    return given.order.deploy;
}

static void deploy(struct hub *hub, struct scripts scripts, uint64_t number)
{
    assert_int_equal(expect_order(hub, DEPLOY_ORDER_DEPLOY, scripts, false, FAULT_NONE), number);
}

static void plan(struct hub *hub, struct scripts scripts)
{
    expect_order(hub, DEPLOY_ORDER_PLAN, scripts, true, FAULT_NONE);
}

static void undeploy(struct hub *hub, uint64_t number)
{
    struct scripts none = {0};
    assert_int_equal(expect_order(hub, DEPLOY_ORDER_UNDEPLOY, none, false, FAULT_NONE), number);
}

/* --- hubs --- */

static int begin(void **state)
{
    setup(state);
    remove_folder(folder("scripts"));
    write_scripts(version(1));
    return 0;
}

static struct hub *open_staying(const char *data)
{
    return open_hub_with((struct hub_options){.data = data, .shards = 2, .projectors = 2, .schedule = true});
}

static struct hub *open_held(struct held_engine *held)
{
    return open_hub_with(
        (struct hub_options){.engine = &held->engine, .shards = 2, .projectors = 2, .schedule = true});
}

static struct command *mark_of(const char *id)
{
    return command_of(id, "Mark", "{}", NULL);
}

static void mark(struct hub *hub, const char *id)
{
    expect(hub, id, "Mark", "{}", FAULT_NONE);
}

/* --- what is there --- */

static size_t count_entries(const char *path)
{
    size_t count = 0;
    DIR *directory = opendir(path);
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory));) count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

/* Names of generations, in order. */
static struct buf generations(void)
{
    struct dirent **found;
    struct buf out = {0};
    int count = scandir(folder("data/views"), &found, NULL, alphasort);
    assert_true(count >= 0);
    for (int at = 0; at < count; at++) {
        if (found[at]->d_name[0] != '.') buf_format(&out, "%s\n", found[at]->d_name);
        free(found[at]);
    }
    free(found);
    buf_put_byte(&out, 0);
    return out;
}

/* Threads of what was end by and by. */
static void expect_threads(size_t count)
{
    size_t now = 0;
    for (int looks = 0; looks < 30000; looks++) {
        now = count_entries("/proc/self/task");
        if (now <= count) return;
        usleep(1000);
    }
    fail_msg("%zu threads, not %zu", now, count);
}

static struct view_info info_of(struct hub *hub, const char *name)
{
    struct view_info info;
    for (size_t at = 0; at < hub_view_count(hub); at++)
        if (hub_view_info(hub, at, &info) && strcmp(info.name, name) == 0) return info;
    fail_msg("no view %s", name);
    return info;
}

static struct buf all_views(struct hub *hub)
{
    struct buf out = {0};
    struct view_info info;
    settle(hub);
    for (size_t at = 0; at < hub_view_count(hub); at++) {
        if (!hub_view_info(hub, at, &info)) continue;
        struct buf text = view_text(hub, info.name, "main");
        buf_format(&out, "-- %s\n%s", info.name, text.data);
        buf_release(&text);
    }
    buf_put_byte(&out, 0);
    return out;
}

/* Built anew they are the same. */
static void expect_as_rebuilt(struct hub *hub)
{
    struct buf before = all_views(hub);
    struct view_info info;
    for (size_t at = 0; at < hub_view_count(hub); at++)
        if (hub_view_info(hub, at, &info))
            assert_int_equal(hub_rebuild(hub, slice_of(info.name), &test_fault), 0);
    struct buf after = all_views(hub);
    assert_string_equal(before.data, after.data);
    buf_release(&before);
    buf_release(&after);
}

/* Counts the events of a type, each made by the code that its commit names. */
static size_t expect_code(struct hub *hub, const char *type)
{
    size_t count = 0;
    struct engine_cursor *cursor;
    struct record record;
    assert_int_equal(engine_read(hub_engine(hub), 1, &cursor, &test_fault), 0);
    while (engine_cursor_next(cursor, &record, &test_fault) == 1) {
        struct record_event event = {0};
        while (record_next_event(&record, &event)) {
            struct slice bytes;
            struct mp_value by;
            if (!slice_is(names_get(record.names, event.type), type)) continue;
            assert_true(mp_find(event.data, slice_of("by"), &bytes));
            struct mp_reader reader = mp_reader_of(bytes);
            assert_int_equal(mp_read(&reader, &by), 0);
            if (by.integer != (int64_t)record.deploy)
                fail_msg("%s at position %llu of deploy %llu was made by the code of %lld", type,
                         (unsigned long long)event.position, (unsigned long long)record.deploy,
                         (long long)by.integer);
            count++;
        }
    }
    engine_cursor_close(cursor);
    return count;
}

/* --- what goes on meanwhile --- */

struct load {
    struct hub *hub;
    atomic_bool stop;
    atomic_size_t marks, rings;
    atomic_bool failed;
    char why[512];
    pthread_t threads[WORKERS];
};

static void load_failed(struct load *load, const char *what, const struct fault *fault)
{
    if (!atomic_exchange(&load->failed, true))
        snprintf(load->why, sizeof load->why, "%s: %s: %.300s", what, fault_name(fault->code), fault->text);
}

/* On its way the command's user is the hub's. */
static void load_await(struct answer *answer)
{
    await(&(struct command){.user = answer});
}

/* What waits for room is tried again; nothing else is refused. */
static bool load_run(struct load *load, struct command *command, const char *what)
{
    struct fault fault = {0};
    struct answer *answer = command->user;
    int done;
    while ((done = hub_submit(load->hub, command, &fault)) < 0 && fault.code == FAULT_BUSY) usleep(100);
    if (done == 0) load_await(answer);
    if (done == 0) fault = command->fault;
    if (fault.code) load_failed(load, what, &fault);
    free(answer);
    command_free(command);
    return fault.code == FAULT_NONE;
}

static void *load_commands(void *user)
{
    struct load *load = user;
    for (unsigned at = 0; !atomic_load(&load->stop); at++) {
        char id[16];
        snprintf(id, sizeof id, "a%u", at % 40);
        if (load_run(load, mark_of(id), "Mark")) atomic_fetch_add(&load->marks, 1);
    }
    return NULL;
}

static void *load_services(void *user)
{
    struct load *load = user;
    while (!atomic_load(&load->stop)) {
        struct command *command = command_of("", "Ring", "{}", NULL);
        command->aggregate = slice_of("mail");
        command->id = SLICE_NONE;
        command->expected_version = COMMAND_ANY_VERSION;
        if (load_run(load, command, "Ring")) atomic_fetch_add(&load->rings, 1);
    }
    return NULL;
}

/* While a deploy brings other tasks these may be put off. */
static void *load_tasks(void *user)
{
    struct load *load = user;
    while (!atomic_load(&load->stop)) {
        struct command *command = command_to("", 0);
        struct answer *answer = command->user;
        struct fault fault;
        if (hub_run_task(load->hub, slice_of("bank/tick"), command, &fault) == 0) {
            load_await(answer);
            fault = command->fault;
        }
        if (fault.code != FAULT_NONE && fault.code != FAULT_CONFLICT && fault.code != FAULT_UNAVAILABLE &&
            fault.code != FAULT_BUSY)
            load_failed(load, "tick", &fault);
        free(answer);
        command_free(command);
        usleep(1000);
    }
    return NULL;
}

static void load_query(struct load *load)
{
    struct fault fault;
    struct answer answer = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};
    struct state_query query = {.tenant = slice_of("main"),
                                .context = slice_of("bank"),
                                .aggregate = slice_of("account"),
                                .id = slice_of("a1"),
                                .version = -1,
                                .done = query_done,
                                .user = &answer};
    if (hub_query_state(load->hub, &query, &fault) < 0) {
        load_failed(load, "state", &fault);
        return;
    }
    await(&(struct command){.user = &answer});
    if (query.fault.code && query.fault.code != FAULT_NOT_FOUND) load_failed(load, "state", &query.fault);
    buf_release(&query.state);
}

static void load_view(struct load *load, const char *name)
{
    struct fault fault;
    struct view_lease lease;
    struct docs_range range = {.tenant = slice_of("main")};
    struct docs_read *read;
    struct slice key, value;
    if (hub_view_lease(load->hub, slice_of(name), &lease, &fault) < 0) {
        load_failed(load, name, &fault);
        return;
    }
    if (docs_read_open(lease.docs, &range, &read, &fault) < 0) {
        load_failed(load, name, &fault);
    } else {
        while (docs_read_next(read, &key, &value, &fault) == 1) continue;
        docs_read_close(read);
    }
    hub_view_release(load->hub, &lease);
}

static void *load_reads(void *user)
{
    struct load *load = user;
    while (!atomic_load(&load->stop)) {
        struct buf text = {0};
        load_query(load);
        load_view(load, "bank/marks");
        hub_status(load->hub, &text);
        hub_metrics(load->hub, &text);
        buf_release(&text);
        hub_is_quiet(load->hub);
        hub_has_tenant(load->hub, slice_of("main"));
    }
    return NULL;
}

static void load_start(struct load *load, struct hub *hub)
{
    void *(*const work[WORKERS])(void *) = {load_commands, load_commands, load_services, load_tasks,
                                            load_reads};
    load->hub = hub;
    for (size_t at = 0; at < WORKERS; at++)
        assert_int_equal(pthread_create(&load->threads[at], NULL, work[at], load), 0);
}

static void load_stop(struct load *load)
{
    atomic_store(&load->stop, true);
    for (size_t at = 0; at < WORKERS; at++) pthread_join(load->threads[at], NULL);
    if (atomic_load(&load->failed)) fail_msg("%s", load->why);
}

/* Every kind of deploy once and again; ends with the code of the last number, which is returned. */
static uint64_t deploy_all_kinds(struct hub *hub)
{
    deploy(hub, version(2), 2);
    plan(hub, version(3));
    deploy(hub, version(3), 3);
    undeploy(hub, 2);
    struct scripts broken = version(4);
    put_script(&broken, "bank/broken.lua", "local x = = 1\n");
    expect_order(hub, DEPLOY_ORDER_DEPLOY, broken, false, FAULT_SCRIPTS);
    struct scripts without = version(4);
    drop_script(&without, "bank/still.lua");
    deploy(hub, without, 4);
    struct scripts with = version(5);
    put_script(&with, "bank/names.lua", names);
    plan(hub, with);
    with = version(5);
    put_script(&with, "bank/names.lua", names);
    assert_int_equal(expect_order(hub, DEPLOY_ORDER_DEPLOY, with, true, FAULT_NONE), 5);
    deploy(hub, version(6), 6);
    undeploy(hub, 5);
    undeploy(hub, 4);
    deploy(hub, version_with_view(7, 6), 7);
    return 7;
}

static void wait_until_quiet(struct hub *hub)
{
    for (int looks = 0; !hub_is_quiet(hub); looks++) {
        if (looks == 30000) fail_msg("something is always left to be sent");
        usleep(1000);
    }
}

static void deploys_under_load(const char *data)
{
    struct hub *hub = open_staying(data);
    struct load load = {0};
    load_start(&load, hub);
    deploy_all_kinds(hub);
    load_stop(&load);
    wait_until_quiet(hub);
    size_t rings = expect_code(hub, "Rang");
    assert_int_equal(rings, atomic_load(&load.rings));
    assert_int_equal(expect_code(hub, "Marked"), atomic_load(&load.marks) + rings);
    expect_code(hub, "Ticked");
    expect_as_rebuilt(hub);
    hub_close(hub);
}

static void loses_nothing_in_memory(void **state)
{
    deploys_under_load(NULL);
}

static void loses_nothing_on_disk(void **state)
{
    deploys_under_load(folder("data"));
    struct hub *hub = open_staying(folder("data"));
    struct buf before = all_views(hub), after;
    hub_close(hub);
    remove_folder(folder("data/views"));
    remove_folder(folder("data/snapshots"));
    hub = open_staying(folder("data"));
    after = all_views(hub);
    assert_string_equal(before.data, after.data);
    hub_close(hub);
    buf_release(&before);
    buf_release(&after);
}

static void leaves_nothing_behind(void **state)
{
    struct hub *hub = open_staying(folder("data"));
    mark(hub, "a");
    settle(hub);
    size_t threads = count_entries("/proc/self/task");
    for (int number = 2; number <= 12; number++) {
        if (number % 3 == 0) plan(hub, version(number));
        deploy(hub, version(number), (uint64_t)number);
        mark(hub, "a");
        settle(hub);
    }
    expect_threads(threads);
    size_t files = count_entries("/proc/self/fd");
    for (int number = 13; number <= 22; number++) {
        deploy(hub, version(number), (uint64_t)number);
        mark(hub, "a");
        settle(hub);
    }
    expect_threads(threads);
    assert_true(count_entries("/proc/self/fd") <= files);
    assert_int_equal(count_entries(folder("data/views")), 3); /* still; marks and what it was before */
    hub_close(hub);
}

/* --- plans --- */

static void a_plan_is_taken_over(void **state)
{
    struct hub *hub = open_staying(folder("data"));
    mark(hub, "a");
    settle(hub);
    plan(hub, version(2));
    struct buf planned = generations();
    struct given given = {.order = {.replay = true}};
    give(hub, &given, DEPLOY_ORDER_DEPLOY, version(2));
    assert_int_equal(take(&given)->order.fault.code, FAULT_NONE);
    assert_true(reports(&given, "\"name\":\"bank/marks\""));
    buf_release(&given.order.report);
    settle(hub);
    struct buf deployed = generations();
    assert_string_equal(planned.data, deployed.data);
    struct buf view = view_text(hub, "bank/marks", "main");
    assert_string_equal(view.data, "a={\"code\":2,\"n\":1}\n");
    undeploy(hub, 1);
    settle(hub);
    struct buf back = generations();
    assert_string_equal(planned.data, back.data);
    assert_int_equal(info_of(hub, "bank/marks").deploy, 1);
    hub_close(hub);
    buf_release(&planned);
    buf_release(&deployed);
    buf_release(&back);
    buf_release(&view);
}

static struct scripts with_names(int number)
{
    struct scripts scripts = version(number);
    put_script(&scripts, "bank/names.lua", names);
    return scripts;
}

/* A view that no running code declares is planned twice, and brought back. */
static void a_new_view_is_planned_again(void **state)
{
    struct hub *hub = open_staying(folder("data"));
    mark(hub, "a");
    settle(hub);
    plan(hub, with_names(2));
    struct buf planned = generations();
    plan(hub, with_names(2));
    struct buf again = generations();
    assert_string_equal(planned.data, again.data);
    assert_int_equal(hub_view_lease(hub, slice_of("names"), &(struct view_lease){0}, &test_fault), -1);
    deploy(hub, with_names(2), 2);
    settle(hub);
    buf_release(&again);
    again = generations();
    assert_string_equal(planned.data, again.data);
    struct view_lease lease; /* keeps its generation open over what follows */
    assert_int_equal(hub_view_lease(hub, slice_of("names"), &lease, &test_fault), 0);
    deploy(hub, version(3), 3);
    mark(hub, "a");
    deploy(hub, with_names(4), 4);
    settle(hub);
    hub_view_release(hub, &lease);
    struct buf view = view_text(hub, "names", "main");
    assert_string_equal(view.data, "a={\"n\":4}\n");
    hub_close(hub);
    buf_release(&planned);
    buf_release(&again);
    buf_release(&view);
}

static void expect_first_code(struct hub *hub)
{
    struct buf view = view_text(hub, "bank/marks", "main");
    assert_string_equal(view.data, "a={\"code\":1,\"n\":1}\n");
    buf_release(&view);
    assert_int_equal(info_of(hub, "bank/marks").deploy, 1);
}

/* What a plan built was never deployed: neither a look from outside nor a start after a kill shows it. */
static void a_plan_never_answers(void **state)
{
    pid_t child = fork();
    if (child == 0) {
        struct hub *hub = open_staying(folder("data"));
        mark(hub, "a");
        settle(hub);
        plan(hub, version(2));
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    assert_int_equal(count_entries(folder("data/views")), 3);
    struct hub *hub = open_hub_with((struct hub_options){.data = folder("data"), .read_only = true});
    expect_first_code(hub);
    hub_close(hub);
    hub = open_staying(folder("data"));
    expect_first_code(hub);
    settle(hub);
    expect_first_code(hub);
    hub_close(hub);
}

/* --- what is refused, and what fails --- */

static void expect_unchanged(struct hub *hub, const struct buf *before, uint64_t number)
{
    struct buf now = generations();
    assert_string_equal(now.data, before->data);
    buf_release(&now);
    struct command *command = run(hub, mark_of("a"));
    assert_int_equal(command->fault.code, FAULT_NONE);
    assert_int_equal(command->record.deploy, number);
    forget(command);
}

static void what_is_refused_changes_nothing(void **state)
{
    struct hub *hub = open_staying(folder("data"));
    mark(hub, "a");
    settle(hub);
    struct buf before = generations();
    struct scripts broken = version(2);
    put_script(&broken, "bank/broken.lua", "local x = = 1\n");
    expect_order(hub, DEPLOY_ORDER_DEPLOY, broken, true, FAULT_SCRIPTS);
    expect_unchanged(hub, &before, 1);
    struct scripts strict = version(2);
    put_script(&strict, "hub.lua", "return { deploy = { refuse = { 'documents_changed' } } }\n");
    expect_order(hub, DEPLOY_ORDER_DEPLOY, strict, true, FAULT_REFUSED);
    struct scripts same = version(1);
    assert_int_equal(expect_order(hub, DEPLOY_ORDER_DEPLOY, same, true, FAULT_NONE), 1);
    struct scripts wrong = version(2);
    put_script(&wrong, "hub.lua", "return { limits = { instructions = 'many' } }\n");
    expect_order(hub, DEPLOY_ORDER_DEPLOY, wrong, true, FAULT_SCRIPTS);
    struct command *command = run(hub, mark_of("a"));
    assert_int_equal(command->record.deploy, 1);
    forget(command);
    struct scripts nothing = {0};
    assert_int_equal(expect_order(hub, DEPLOY_ORDER_DEPLOY, nothing, false, FAULT_NONE), 2);
    command = mark_of("a");
    assert_int_equal(hub_submit(hub, command, &test_fault), -1);
    assert_int_equal(test_fault.code, FAULT_NOT_FOUND);
    answered(command);
    forget(command);
    undeploy(hub, 1);
    mark(hub, "a");
    hub_close(hub);
    buf_release(&before);
}

/* Each value of the deploy fails once: the old code goes on, and the next try has the same number. */
static void what_cannot_be_kept_is_not_deployed(void **state)
{
    struct hub *hub = open_staying(folder("data"));
    mark(hub, "a");
    settle(hub);
    for (int put = 1;; put++) {
        char clause[64];
        snprintf(clause, sizeof clause, "deploy.put@%d=ENOSPC", put);
        fault_points_disarm();
        assert_int_equal(fault_points_arm(clause, &test_fault), 0);
        struct given given = {0};
        give(hub, &given, DEPLOY_ORDER_DEPLOY, version(2));
        take(&given);
        buf_release(&given.order.report);
        if (given.order.fault.code == FAULT_NONE) {
            assert_true(put > 4);
            break;
        }
        assert_int_equal(given.order.fault.code, FAULT_DISK);
        struct command *command = run(hub, mark_of("a"));
        assert_int_equal(command->fault.code, FAULT_NONE);
        assert_int_equal(command->record.deploy, 1);
        forget(command);
    }
    fault_points_disarm();
    settle(hub);
    struct command *command = run(hub, mark_of("a"));
    assert_int_equal(command->record.deploy, 2);
    forget(command);
    expect_code(hub, "Marked");
    hub_close(hub);
}

/* --- at the wrong moment --- */

/* The generation that a deploy found is gone when it switches: another one took over meanwhile. */
static void a_rebuild_between_preparing_and_switching(void **state)
{
    struct held_engine *held = hold_engine(NULL);
    struct hub *hub = open_held(held);
    mark(hub, "a");
    settle(hub);
    deploy(hub, version_with_view(2, 2), 2);
    settle(hub);
    struct given given = {0};
    held_metas(held, true);
    give(hub, &given, DEPLOY_ORDER_DEPLOY, version_with_view(3, 1)); /* the view as it was before */
    held_await_meta(held);
    assert_int_equal(hub_rebuild(hub, slice_of("bank/marks"), &test_fault), 0);
    settle(hub);
    held_metas(held, false);
    assert_int_equal(take(&given)->order.fault.code, FAULT_NONE);
    buf_release(&given.order.report);
    settle(hub);
    struct buf view = view_text(hub, "bank/marks", "main");
    assert_string_equal(view.data, "a={\"code\":1,\"n\":1}\n");
    buf_release(&view);
    hub_close(hub);
}

struct closing {
    struct given plan, deploy, late;
};

/* Whatever a deploy is doing when the hub is closed, it is answered. */
static void closes_in_the_middle(void **state)
{
    for (int round = 0; round < 6; round++) {
        struct hub *hub = open_staying(round % 2 ? folder("data") : NULL);
        struct closing closing = {.plan.order.replay = true};
        for (int at = 0; at < 200; at++) {
            char id[16];
            snprintf(id, sizeof id, "a%d", at);
            struct command *command = mark_of(id);
            submit(hub, command);
            if (at == 199) await(command);
            forget(command);
        }
        give(hub, &closing.plan, DEPLOY_ORDER_PLAN, version(90));
        give(hub, &closing.deploy, DEPLOY_ORDER_DEPLOY, version(91));
        if (round > 1) usleep((unsigned)round * 3000); /* another moment of it */
        hub_stop(hub);
        assert_true(sem_trywait(&closing.plan.done) == 0 && sem_trywait(&closing.deploy.done) == 0);
        assert_int_equal(hub_deploy(hub, &closing.late.order, &test_fault), -1);
        hub_close(hub);
        buf_release(&closing.plan.order.report);
        buf_release(&closing.deploy.order.report);
        remove_folder(folder("data"));
    }
}

/* A start with another folder goes through its deploy while everything runs already. */
static void starts_with_another_folder(void **state)
{
    for (int number = 1; number <= 6; number++) {
        write_scripts(version(number));
        struct hub *hub = open_staying(folder("data"));
        struct command *command = run(hub, mark_of("a"));
        assert_int_equal(command->fault.code, FAULT_NONE);
        assert_int_equal(command->record.deploy, number);
        forget(command);
        expect_as_rebuilt(hub);
        hub_close(hub);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(loses_nothing_in_memory, begin, teardown),
        cmocka_unit_test_setup_teardown(loses_nothing_on_disk, begin, teardown),
        cmocka_unit_test_setup_teardown(leaves_nothing_behind, begin, teardown),
        cmocka_unit_test_setup_teardown(a_plan_is_taken_over, begin, teardown),
        cmocka_unit_test_setup_teardown(a_new_view_is_planned_again, begin, teardown),
        cmocka_unit_test_setup_teardown(a_plan_never_answers, begin, teardown),
        cmocka_unit_test_setup_teardown(what_is_refused_changes_nothing, begin, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_kept_is_not_deployed, begin, teardown),
        cmocka_unit_test_setup_teardown(a_rebuild_between_preparing_and_switching, begin, teardown),
        cmocka_unit_test_setup_teardown(closes_in_the_middle, begin, teardown),
        cmocka_unit_test_setup_teardown(starts_with_another_folder, begin, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
