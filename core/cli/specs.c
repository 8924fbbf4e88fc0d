#include "cli/specs.h"

#include <ftw.h>
#include <stdlib.h>

#include "cli/child.h"
#include "codec/json.h"

enum { SPECS_DEPTH = 8, SPECS_OUTPUT_MAX = 16384 /* of a report */ };

/* As lua/spec.lua finds it: beside the folder, also where its name is . or ends with slashes. */
void specs_folder(const char *scripts, struct buf *path)
{
    size_t size = strlen(scripts);
    while (size > 1 && scripts[size - 1] == '/') size--;
    size_t name = size;
    while (name && scripts[name - 1] != '/') name--;
    bool dots = strspn(scripts + name, ".") >= size - name;
    buf_put(path, scripts, dots ? size : name);
    buf_put_text(path, dots ? "/../specs" : "specs");
    buf_put_byte(path, 0);
    path->size--;
}

static int specs_is_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    static const char ending[] = "_spec.lua";
    size_t size = strlen(path);
    return kind == FTW_F && size > sizeof ending && strcmp(path + size - (sizeof ending - 1), ending) == 0;
}

/* The last line, "N passed, N failed"; false if there is none. */
static bool specs_read_counts(struct specs *specs)
{
    const char *begin = specs->output.data, *end = begin + specs->output.size;
    while (end > begin && (end[-1] == '\n' || end[-1] == ' ')) end--;
    const char *line = end;
    while (line > begin && line[-1] != '\n') line--;
    char text[64], *rest;
    if (end == line || (size_t)(end - line) >= sizeof text) return false;
    memcpy(text, line, (size_t)(end - line));
    text[end - line] = 0;
    specs->passed = strtoull(text, &rest, 10);
    if (rest == text || strncmp(rest, " passed, ", 9) != 0) return false;
    specs->failed = strtoull(rest + 9, &rest, 10);
    return strcmp(rest, " failed") == 0;
}

int specs_run(const char *scripts, struct slice context, struct specs *specs, struct fault *fault)
{
    struct buf folder = {0};
    specs_folder(scripts, &folder);
    if (context.size) buf_format(&folder, "/%.*s%c", SLICE_ARGS(context), 0);
    int done = 0;
    if (nftw(folder.data, specs_is_one, SPECS_DEPTH, 0) == 1) {
        const char *const record = specs->record ? "--record" : NULL;
        const char *const arguments[] = {"test", "--scripts",   scripts, folder.data,
                                         record, specs->record, NULL};
        specs->ran = true;
        done = child_run(arguments, 1, &specs->output, fault);
        if (done == 0 && !specs_read_counts(specs))
            done = fault_set(fault, FAULT_UNAVAILABLE, "the specs in %s cannot be run: %.*s", folder.data,
                             SLICE_ARGS(buf_slice(&specs->output)));
    }
    buf_release(&folder);
    return done;
}

void specs_put_json(const struct specs *specs, struct buf *json)
{
    if (!specs->ran) return;
    struct slice output = buf_slice(&specs->output);
    if (output.size > SPECS_OUTPUT_MAX)
        output = slice_make(output.data + output.size - SPECS_OUTPUT_MAX, SPECS_OUTPUT_MAX);
    buf_put_byte(json, '{');
    json_put_int_member(json, "passed", (int64_t)specs->passed);
    json_put_int_member(json, "failed", (int64_t)specs->failed);
    if (specs->failed) json_put_text_member(json, "output", output);
    buf_put_byte(json, '}');
}

void specs_release(struct specs *specs)
{
    buf_release(&specs->output);
}
