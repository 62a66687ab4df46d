/* Preloaded under strace, which counts each thread's calls by itself: `inject=openat:when=3` stops the third openat of
 * whichever thread gets there first, and that would be the loader's. Here every later thread begins with COUNT calls
 * that fail, so that its own calls have numbers above those of the main thread.
 *
 * APART: the numbers of the system calls, with commas between. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#ifndef COUNT
#error "COUNT: how many calls a thread makes first"
#endif

struct start {
    void *(*routine)(void *);
    void *argument;
};

static void *begin(void *given)
{
    struct start start = *(struct start *)given;
    free(given);
    const char *at = getenv("APART");
    while (at && *at) {
        char *end;
        long number = strtol(at, &end, 10);
        if (end == at)
            break;
        /* No descriptor, address or flag is valid, so that nothing happens. */
        for (int i = 0; i < COUNT; i++)
            syscall(number, -1L, -1L, -1L, -1L, -1L, -1L);
        at = *end == ',' ? end + 1 : end;
    }
    return start.routine(start.argument);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*routine)(void *), void *argument)
{
    int (*next)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *) = dlsym(RTLD_NEXT, "pthread_create");
    struct start *start = malloc(sizeof *start);
    if (!next || !start)
        abort();
    start->routine = routine;
    start->argument = argument;
    return next(thread, attributes, begin, start);
}
