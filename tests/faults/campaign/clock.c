/* Moves a process's wall clock by an hour once the file named by CAMPAIGN_CLOCK exists (LD_PRELOAD).
   The clocks that never go back are left alone, as by whoever sets a machine's time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static int moved(void) {
    static const char *path;
    if (path == NULL && (path = getenv("CAMPAIGN_CLOCK")) == NULL)
        path = "";
    return *path != '\0' && access(path, F_OK) == 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (real == NULL)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (result == 0 && clock == CLOCK_REALTIME && moved())
        now->tv_sec += 3600;
    return result;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out != NULL)
        *out = now.tv_sec;
    return now.tv_sec;
}
