/* Deploys of a running hub: nothing is lost, torn or left behind when the code under everything changes. */
#include <semaphore.h>
#include <signal.h>
#include <sys/wait.h>

#include "base/faultpoint.h"
#include "deployer_support.h"

enum {
    WORKERS = 5,
    STREAMS = 400, /* short ones: where every command differs, each state is folded again for each */
    PAUSE_US = 2000,
    ROUNDS = 20 /* and the pause grows by as much: where all is slow, the log is not longer for it */
};

/* --- what goes on meanwhile --- */

struct load {
    struct hub *hub;
    unsigned pause_us;
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

static void load_rest(const struct load *load, unsigned round)
{
    usleep(load->pause_us * (1 + round / ROUNDS));
}

static void *load_commands(void *user)
{
    struct load *load = user;
    for (unsigned at = 0; !atomic_load(&load->stop); at++) {
        char id[16];
        snprintf(id, sizeof id, "a%u", at % STREAMS);
        if (load_run(load, mark_of(id), "Mark")) atomic_fetch_add(&load->marks, 1);
        load_rest(load, at);
    }
    return NULL;
}

static void *load_services(void *user)
{
    struct load *load = user;
    for (unsigned at = 0; !atomic_load(&load->stop); at++) {
        struct command *command = command_of("", "Ring", "{}", NULL);
        command->aggregate = slice_of("mail");
        command->id = SLICE_NONE;
        command->expected_version = COMMAND_ANY_VERSION;
        if (load_run(load, command, "Ring")) atomic_fetch_add(&load->rings, 1);
        load_rest(load, at);
    }
    return NULL;
}

/* While a deploy brings other tasks these may be put off. */
static void *load_tasks(void *user)
{
    struct load *load = user;
    for (unsigned at = 0; !atomic_load(&load->stop); at++) {
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
        load_rest(load, at);
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
    for (unsigned at = 0; !atomic_load(&load->stop); at++) {
        struct buf text = {0};
        load_query(load);
        load_view(load, "bank/marks");
        hub_status(load->hub, &text);
        hub_metrics(load->hub, &text);
        buf_release(&text);
        hub_is_quiet(load->hub);
        hub_has_tenant(load->hub, slice_of("main"));
        load_rest(load, at);
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
    /* In memory whoever looks for a stream reads the whole log. */
    struct load load = {.pause_us = data ? PAUSE_US : 10 * PAUSE_US};
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
    expect_entries("/proc/self/task", threads);
    size_t files = count_entries("/proc/self/fd");
    for (int number = 13; number <= 22; number++) {
        deploy(hub, version(number), (uint64_t)number);
        mark(hub, "a");
        settle(hub);
    }
    expect_entries("/proc/self/task", threads);
    expect_entries("/proc/self/fd",
                   files + 9); /* less than one for each deploy: a reactor opens its own late */
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
