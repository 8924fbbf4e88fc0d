#include "cli/repl_locale.h"

#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

static bool locale_is_ascii;

/* Where nothing is said, terminals of today are UTF-8. */
static bool locale_is_said(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t at = 0; at < sizeof names / sizeof *names; at++) {
        const char *value = getenv(names[at]);
        if (value && *value) return true;
    }
    return false;
}

static bool locale_is_utf8(locale_t locale)
{
    return locale && strcmp(nl_langinfo_l(CODESET, locale), "UTF-8") == 0;
}

/* For this thread alone: a hub of our own runs scripts in the C locale. */
void repl_locale_set(void)
{
    bool said = locale_is_said();
    locale_t locale = newlocale(LC_CTYPE_MASK, said ? "" : "C.UTF-8", NULL);
    locale_is_ascii = !locale_is_utf8(locale);
    if (locale_is_ascii) {
        locale_t other = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
        if (other && locale) freelocale(locale);
        if (other) locale = other;
    }
    if (locale) uselocale(locale);
}

bool repl_locale_is_ascii(void)
{
    return locale_is_ascii;
}
