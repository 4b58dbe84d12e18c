/* SPDX-License-Identifier: Apache-2.0
 *
 * What every other header of heed stands on: statuses and their texts, the version, the allocator,
 * the log callback, instants, and the thread pool that a caller lends to the library.
 *
 * heed is a guest in its caller's process: it never prints, exits, aborts, reads the environment or
 * starts a thread, unless the caller asked for exactly that. */
#ifndef HEED_BASE_H
#define HEED_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HEED_VERSION_MAJOR 0
#define HEED_VERSION_MINOR 1
#define HEED_VERSION_PATCH 0
#define HEED_VERSION_TEXT "0.1.0"

#if defined(__GNUC__)
#define HEED_API __attribute__((visibility("default")))
#define HEED_CHECKED __attribute__((warn_unused_result))
#else
#define HEED_API
#define HEED_CHECKED
#endif

/* name, value, text, exit code of the program, HTTP status. Values are appended, never renumbered. */
#define HEED_STATUS_MAP(X)                                                                         \
    X(OK, 0, "done", 0, 200)                                                                       \
    X(E_ARG, 1, "an argument is out of its range", 2, 400)                                         \
    X(E_SHAPE, 2, "shapes do not agree", 2, 400)                                                   \
    X(E_NOMEM, 3, "out of memory", 1, 503)                                                         \
    X(E_IO, 4, "reading or writing failed", 1, 500)                                                \
    X(E_FORMAT, 5, "the input is malformed", 1, 400)                                               \
    X(E_RANGE, 6, "a limit was passed", 1, 400)                                                    \
    X(E_NOTFOUND, 7, "there is no such thing", 1, 404)                                             \
    X(E_EXISTS, 8, "it is there already", 1, 409)                                                  \
    X(E_STATE, 9, "not possible in this state", 1, 409)                                            \
    X(E_BUSY, 10, "somebody else is at it", 1, 503)                                                \
    X(E_CANCELLED, 11, "stopped on request", 1, 503)                                               \
    X(E_VERSION, 12, "made by a newer version", 1, 500)                                            \
    X(E_INVARIANT, 13, "an invariant is broken", 1, 500)                                           \
    X(E_UNSUPPORTED, 14, "not in this build", 1, 501)

typedef enum heed_status {
#define HEED_STATUS_ENUM(name, value, text, exit_code, http) HEED_##name = value,
    HEED_STATUS_MAP(HEED_STATUS_ENUM)
#undef HEED_STATUS_ENUM
} heed_status;

/** The version of the library in use, such as "0.1.0". */
HEED_API const char *heed_version(void);

/** A status's name, such as "HEED_E_SHAPE"; "HEED_?" for a value that is none. */
HEED_API const char *heed_status_name(heed_status status);

/** A status's general text, such as "shapes do not agree". */
HEED_API const char *heed_status_text(heed_status status);

/** The exit code with which a program should end: 0 done, 1 failed, 2 misused. */
HEED_API int heed_status_exit_code(heed_status status);

/* Returns from a function that itself returns a heed_status where a call has failed. */
#define HEED_TRY(call)                                                                             \
    do {                                                                                           \
        heed_status heed_try_ = (call);                                                            \
        if (heed_try_ != HEED_OK)                                                                  \
            return heed_try_;                                                                      \
    } while (0)

/**
 * This thread's last error: subject: what is wrong, with the numbers. Valid until the thread's next
 * failing call. Empty before the first failure.
 */
HEED_API const char *heed_error_message(void);

/* resize is realloc with a context: pointer NULL allocates, bytes 0 frees and returns NULL. */
typedef struct heed_allocator {
    void *(*resize)(void *context, void *pointer, size_t bytes);
    void *context;
} heed_allocator;

/**
 * Replaces malloc for the whole library. Call it before anything else is allocated; NULL brings back
 * the C library's.
 * Threads  not safe beside any other call of the library.
 */
HEED_API void heed_set_allocator(const heed_allocator *allocator);

typedef int64_t heed_time; /* milliseconds since 1970-01-01 UTC */
typedef int64_t heed_span; /* milliseconds */

/* Where a caller wants to be asked for the time; NULL: the system's clock. */
typedef struct heed_clock {
    heed_time (*now)(void *context);
    void *context;
} heed_clock;

typedef enum heed_log_level { HEED_LOG_ERROR, HEED_LOG_WARN, HEED_LOG_INFO, HEED_LOG_DEBUG } heed_log_level;

/* Called for each log line of the handle it was given to; silent where NULL. */
typedef struct heed_log {
    void (*line)(void *context, heed_log_level level, const char *text);
    void *context;
} heed_log;

/* A long job tells how far it is and asks whether to go on: return false to cancel.
 * done and total count in the unit that `what` names; total 0: not known. */
typedef struct heed_progress {
    bool (*report)(void *context, const char *what, int64_t done, int64_t total);
    void *context;
} heed_progress;

/* locked: any thread may hand it work, one job at a time. */
typedef struct heed_pool heed_pool;

/**
 * Starts threads - 1 threads; the caller of each job is the last one. threads 0: as many as the
 * machine has processors that this process may use.
 * Errors   HEED_E_ARG    threads is negative or above 1,024
 *          HEED_E_NOMEM  a thread could not be had
 */
HEED_API HEED_CHECKED heed_status heed_pool_new(int threads, heed_pool **pool);
HEED_API void heed_pool_free(heed_pool *pool);
/** How many threads work on a job, the caller's own included; 1 for NULL. */
HEED_API int heed_pool_threads(const heed_pool *pool);

#ifdef __cplusplus
}
#endif
#endif
