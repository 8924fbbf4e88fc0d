#include <stdlib.h>

#include "base/mem.h"
#include "run/shadow_inside.h"

/* --- samples --- */

static int shadow_compare_samples(const struct shadow_sample *a, const struct shadow_sample *b)
{
    int order = slice_compare(a->tenant, b->tenant);
    if (!order) order = slice_compare(a->id, b->id);
    if (!order) order = a->version < b->version ? -1 : a->version > b->version;
    return order;
}

static size_t shadow_list_place(const struct shadow_list *list, const struct shadow_sample *sample)
{
    size_t place = list->count;
    while (place && shadow_compare_samples(sample, &list->items[place - 1]) < 0) place--;
    return place;
}

bool shadow_list_wants(const struct shadow_list *list, const struct shadow_sample *sample)
{
    return shadow_list_place(list, sample) < list->most;
}

static struct slice shadow_keep(struct slice text)
{
    return text.size ? slice_make(mem_text(text.data, text.size), text.size) : SLICE_NONE;
}

static void shadow_drop_sample(struct shadow_sample *sample)
{
    struct slice texts[] = {sample->tenant, sample->id, sample->type, sample->before, sample->after};
    for (size_t at = 0; at < sizeof texts / sizeof *texts; at++) mem_free((void *)(uintptr_t)texts[at].data);
}

void shadow_list_put(struct shadow_list *list, const struct shadow_sample *sample)
{
    size_t place = shadow_list_place(list, sample);
    if (place >= list->most) return;
    if (!list->items) list->items = mem_zero(list->most * sizeof *list->items);
    if (list->count == list->most) shadow_drop_sample(&list->items[--list->count]);
    memmove(list->items + place + 1, list->items + place, (list->count - place) * sizeof *list->items);
    list->items[place] = *sample;
    list->items[place].tenant = shadow_keep(sample->tenant);
    list->items[place].id = shadow_keep(sample->id);
    list->items[place].type = shadow_keep(sample->type);
    list->items[place].before = shadow_keep(sample->before);
    list->items[place].after = shadow_keep(sample->after);
    list->count++;
}

static void shadow_list_merge(struct shadow_list *list, const struct shadow_list *other)
{
    for (size_t at = 0; at < other->count; at++) shadow_list_put(list, &other->items[at]);
}

static void shadow_list_release(struct shadow_list *list)
{
    for (size_t at = 0; at < list->count; at++) shadow_drop_sample(&list->items[at]);
    mem_free(list->items);
}

/* --- errors --- */

/* "billing/bill.lua:12" of "billing/bill.lua:12: the bill b7 …": what fails at one place is one error. */
static struct slice shadow_place_of(struct slice text)
{
    size_t at = 0;
    while (at < text.size && text.data[at] != ':' && text.data[at] != '\n') at++;
    if (at == text.size || text.data[at] != ':') return text;
    size_t end = at + 1;
    while (end < text.size && text.data[end] >= '0' && text.data[end] <= '9') end++;
    return end > at + 1 ? slice_make(text.data, end) : text;
}

static struct shadow_note *shadow_note_get(struct shadow_notes *notes, struct slice key)
{
    struct shadow_note *note = map_find(&notes->errors, key);
    if (note) return note;
    if (notes->errors.size >= SHADOW_ERRORS_MAX) {
        key = slice_of("other errors");
        note = map_find(&notes->errors, key);
        if (note) return note;
    }
    note = MEM_NEW(struct shadow_note);
    note->key = mem_text(key.data, key.size);
    note->example.most = 1;
    map_put(&notes->errors, slice_make(note->key, key.size), note);
    return note;
}

static void shadow_note_add(struct shadow_note *note, struct slice text, uint64_t count,
                            const struct shadow_sample *example)
{
    note->count += count;
    if (!shadow_list_wants(&note->example, example)) return;
    shadow_list_put(&note->example, example);
    mem_free(note->text);
    note->text = mem_text(text.data, text.size);
}

void shadow_notes_error(struct shadow_notes *notes, struct slice text, const struct shadow_sample *example)
{
    shadow_note_add(shadow_note_get(notes, shadow_place_of(text)), text, 1, example);
}

/* --- all of it --- */

void shadow_notes_init(struct shadow_notes *notes, size_t samples)
{
    *notes = (struct shadow_notes){0};
    notes->states.most = samples;
    for (int kind = 0; kind < SHADOW_KINDS; kind++) notes->commands[kind].most = samples;
}

void shadow_notes_release(struct shadow_notes *notes)
{
    struct shadow_note *note;
    for (size_t at = 0; (note = map_next(&notes->errors, &at));) {
        shadow_list_release(&note->example);
        mem_free(note->text);
        mem_free(note->key);
        mem_free(note);
    }
    map_release(&notes->errors);
    shadow_list_release(&notes->states);
    for (int kind = 0; kind < SHADOW_KINDS; kind++) shadow_list_release(&notes->commands[kind]);
    compare_fields_release(&notes->fields);
}

void shadow_counts_add(struct shadow_counts *counts, const struct shadow_counts *other)
{
    counts->streams += other->streams;
    counts->events += other->events;
    counts->states_changed += other->states_changed;
    counts->states_failed += other->states_failed;
    counts->older += other->older;
    counts->left_out += other->left_out;
    counts->commands.decided += other->commands.decided;
    counts->commands.same += other->commands.same;
    counts->commands.upcast += other->commands.upcast;
    counts->commands.already += other->commands.already;
    counts->commands.undecided += other->commands.undecided;
    for (int kind = 0; kind < SHADOW_KINDS; kind++)
        counts->commands.differs[kind] += other->commands.differs[kind];
}

void shadow_notes_merge(struct shadow_notes *notes, const struct shadow_notes *other)
{
    shadow_counts_add(&notes->counts, &other->counts);
    compare_fields_merge(&notes->fields, &other->fields);
    shadow_list_merge(&notes->states, &other->states);
    for (int kind = 0; kind < SHADOW_KINDS; kind++)
        shadow_list_merge(&notes->commands[kind], &other->commands[kind]);
    const struct shadow_note *note;
    for (size_t at = 0; (note = map_next(&other->errors, &at));)
        shadow_note_add(shadow_note_get(notes, slice_of(note->key)), slice_of(note->text), note->count,
                        note->example.items);
}

static struct shadow_sample shadow_report_sample(const struct shadow_sample *sample, struct arena *arena)
{
    struct shadow_sample kept = *sample;
    kept.tenant = arena_copy(arena, sample->tenant);
    kept.id = arena_copy(arena, sample->id);
    kept.type = arena_copy(arena, sample->type);
    kept.before = arena_copy(arena, sample->before);
    kept.after = arena_copy(arena, sample->after);
    return kept;
}

static struct shadow_samples shadow_report_list(const struct shadow_list *list, struct arena *arena)
{
    struct shadow_samples samples = {.count = list->count};
    samples.items = arena_zero(arena, (list->count + 1) * sizeof *samples.items);
    for (size_t at = 0; at < list->count; at++)
        samples.items[at] = shadow_report_sample(&list->items[at], arena);
    return samples;
}

static int shadow_compare_errors(const void *a, const void *b)
{
    const struct shadow_error *left = a, *right = b;
    if (left->count != right->count) return left->count > right->count ? -1 : 1;
    return slice_compare(left->text, right->text);
}

void shadow_notes_report(const struct shadow_notes *notes, struct arena *arena,
                         struct shadow_aggregate *aggregate)
{
    aggregate->counts = notes->counts;
    aggregate->fields =
        compare_fields_list(&notes->fields, SHADOW_FIELDS_MAX, arena, &aggregate->field_count);
    aggregate->states = shadow_report_list(&notes->states, arena);
    for (int kind = 0; kind < SHADOW_KINDS; kind++)
        aggregate->commands[kind] = shadow_report_list(&notes->commands[kind], arena);
    aggregate->errors = arena_zero(arena, (notes->errors.size + 1) * sizeof *aggregate->errors);
    const struct shadow_note *note;
    for (size_t at = 0; (note = map_next(&notes->errors, &at));)
        aggregate->errors[aggregate->error_count++] =
            (struct shadow_error){.text = arena_copy(arena, slice_of(note->text)),
                                  .count = note->count,
                                  .example = shadow_report_sample(note->example.items, arena)};
    if (aggregate->error_count > 1)
        qsort(aggregate->errors, aggregate->error_count, sizeof *aggregate->errors, shadow_compare_errors);
}
