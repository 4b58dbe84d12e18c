/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoints: a run that is saved and loaded goes on with the same bits; a file of another model
 * is refused whole; a writer that is killed, or whose disk is full, leaves the old file. */
#include "base/memory.h"
#include "heed/nn.h"
#include "nn/params.h"
#include "nn/safetensors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { ROWS = 50, COLS = 33 };

static char folder[64], path[96];

static int folder_new(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/heed-checkpoint-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    return 0;
}

static int folder_remove(void **state)
{
    char beside[128];

    (void)state;
    snprintf(beside, sizeof beside, "%s.new", path);
    unlink(beside);
    unlink(path);
    return rmdir(folder);
}

struct run {
    heed_params *params;
    heed_adam *adam;
    heed_tape *tape;
    heed_tensor *w, *b;
};

static struct run run_new(heed_dtype dtype, uint64_t seed, double ema_decay)
{
    struct run r = {0};
    heed_adam_opts opts = {.ema_decay = ema_decay, .weight_decay = 0.01};

    assert_int_equal(heed_params_new(dtype, seed, &r.params), HEED_OK);
    assert_int_equal(heed_params_add(r.params, "w", (int64_t[]){ROWS, COLS}, 2,
                                     HEED_INIT_XAVIER_UNIFORM, 1, &r.w),
                     HEED_OK);
    assert_int_equal(
        heed_params_add(r.params, "b", (int64_t[]){ROWS}, 1, HEED_INIT_UNIFORM, 1, &r.b), HEED_OK);
    assert_int_equal(heed_adam_new(r.params, &opts, &r.adam), HEED_OK);
    assert_int_equal(heed_tape_new(NULL, seed, &r.tape), HEED_OK);
    return r;
}

static void run_free(struct run *r)
{
    heed_tape_free(r->tape);
    heed_adam_free(r->adam);
    heed_params_free(r->params);
}

/* A step of some loss: rms_norm(x W^T + b) against ones. */
static void run_step(struct run *r)
{
    int64_t t = heed_adam_steps(r->adam);
    heed_tensor *x, *y, *ones, *loss;

    heed_params_zero_grad(r->params);
    heed_tape_reset(r->tape);
    assert_int_equal(heed_tensor_new_in(r->tape, HEED_F32, (int64_t[]){1, COLS}, 2, &x), HEED_OK);
    assert_int_equal(heed_tensor_new_in(r->tape, HEED_F32, (int64_t[]){1, ROWS}, 2, &ones),
                     HEED_OK);
    for (int i = 0; i < COLS; i++)
        ((float *)x->data)[i] = (float)((i * 7 + t * 3) % 11) - 5;
    for (int i = 0; i < ROWS; i++)
        ((float *)ones->data)[i] = 1;
    assert_int_equal(heed_linear(r->tape, x, r->w, r->b, &y), HEED_OK);
    assert_int_equal(heed_tanh(r->tape, y, &y), HEED_OK);
    assert_int_equal(heed_linear(r->tape, y, ones, NULL, &loss), HEED_OK);
    assert_int_equal(heed_tape_backward(r->tape, loss), HEED_OK);
    assert_int_equal(heed_adam_step(r->adam, 0.01, NULL, NULL), HEED_OK);
}

static void assert_same(const struct run *a, const struct run *b)
{
    assert_int_equal(heed_adam_steps(a->adam), heed_adam_steps(b->adam));
    assert_memory_equal(a->w->data, b->w->data, ROWS * COLS * sizeof(float));
    assert_memory_equal(a->b->data, b->b->data, ROWS * sizeof(float));
}

static void test_goes_on_with_the_same_bits(void **state)
{
    struct run a = run_new(HEED_F32, 1, 0.9), b = run_new(HEED_F32, 2, 0.9);
    const char *keys[] = {"heed.config"}, *values[] = {"{\"dim\":33}"};
    hd_safetensors *file;

    (void)state;
    for (int i = 0; i < 5; i++)
        run_step(&a);
    assert_int_equal(heed_params_save(a.params, a.adam, path, keys, values, 1), HEED_OK);
    assert_int_equal(heed_params_load(b.params, b.adam, path), HEED_OK);
    assert_same(&a, &b);
    for (int i = 0; i < 5; i++)
        run_step(&a), run_step(&b);
    assert_same(&a, &b);
    heed_adam_swap_average(a.adam);
    assert_int_equal(heed_params_save(a.params, a.adam, path, NULL, NULL, 0), HEED_E_STATE);
    heed_adam_swap_average(b.adam);
    assert_same(&a, &b);

    assert_int_equal(hd_safetensors_open(path, &file), HEED_OK);
    assert_int_equal(hd_safetensors_count(file), 8);
    assert_string_equal(hd_safetensors_text(file, "heed.config"), "{\"dim\":33}");
    assert_string_equal(hd_safetensors_text(file, "adam.steps"), "5");
    hd_safetensors_close(file);
    run_free(&a);
    run_free(&b);
}

static void test_weights_alone_in_another_type(void **state)
{
    struct run a = run_new(HEED_F32, 1, 0), b = run_new(HEED_F64, 2, 0);

    (void)state;
    assert_int_equal(heed_params_save(a.params, NULL, path, NULL, NULL, 0), HEED_OK);
    assert_int_equal(heed_params_load(b.params, NULL, path), HEED_OK);
    for (int i = 0; i < ROWS * COLS; i++)
        assert_true(((double *)b.w->data)[i] == (double)((float *)a.w->data)[i]);
    assert_int_equal(heed_params_load(b.params, b.adam, path), HEED_E_FORMAT);
    assert_non_null(strstr(heed_error_message(), "there is no adam.steps in the metadata"));
    run_free(&a);
    run_free(&b);
}

static void test_another_model(void **state)
{
    struct run a = run_new(HEED_F32, 1, 0), b = run_new(HEED_F32, 2, 0.5);
    static float before[ROWS * COLS];
    heed_params *other;
    heed_tensor *w;
    char want[200];

    (void)state;
    memcpy(before, b.w->data, sizeof before);
    assert_int_equal(heed_params_save(a.params, a.adam, path, NULL, NULL, 0), HEED_OK);
    assert_int_equal(heed_params_load(b.params, b.adam, path), HEED_E_FORMAT);
    snprintf(want, sizeof want, "%s: there is no tensor adam.average.w", path);
    assert_string_equal(heed_error_message(), want);
    assert_memory_equal(before, b.w->data, sizeof before); /* nothing was read before all fitted */

    assert_int_equal(heed_params_new(HEED_F32, 0, &other), HEED_OK);
    assert_int_equal(
        heed_params_add(other, "w", (int64_t[]){COLS, ROWS}, 2, HEED_INIT_ZEROS, 0, &w), HEED_OK);
    assert_int_equal(heed_params_load(other, NULL, path), HEED_E_SHAPE);
    snprintf(want, sizeof want, "%s: w is (50, 33), not (33, 50)", path);
    assert_string_equal(heed_error_message(), want);
    assert_int_equal(heed_params_load(other, a.adam, path), HEED_E_ARG);
    heed_params_free(other);

    assert_int_equal(heed_params_load(a.params, NULL, folder), HEED_E_FORMAT);
    snprintf(want, sizeof want, "%s/none", folder);
    assert_int_equal(heed_params_load(a.params, NULL, want), HEED_E_IO);
    snprintf(want, sizeof want, "%s/no/where", folder);
    assert_int_equal(heed_params_save(a.params, NULL, want, NULL, NULL, 0), HEED_E_IO);
    run_free(&a);
    run_free(&b);
}

/* Writes fail at every length up to the file's: the old file stays, nothing is left beside it. */
static void test_full_disk(void **state)
{
    struct run a = run_new(HEED_F32, 1, 0), b = run_new(HEED_F32, 2, 0);
    struct rlimit limit, old;
    struct stat about;
    char beside[128];

    (void)state;
    snprintf(beside, sizeof beside, "%s.new", path);
    assert_int_equal(heed_params_save(a.params, NULL, path, NULL, NULL, 0), HEED_OK);
    assert_int_equal(stat(path, &about), 0);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    for (off_t bytes = 0; bytes < about.st_size; bytes += bytes < 300 ? 1 : 97) {
        limit = (struct rlimit){(rlim_t)bytes, old.rlim_max};
        setrlimit(RLIMIT_FSIZE, &limit);
        heed_status status = heed_params_save(b.params, NULL, path, NULL, NULL, 0);
        setrlimit(RLIMIT_FSIZE, &old);
        assert_int_equal(status, HEED_E_IO);
        assert_int_equal(access(beside, F_OK), -1);
    }
    assert_int_equal(heed_params_load(b.params, NULL, path), HEED_OK);
    assert_same(&a, &b);
    run_free(&a);
    run_free(&b);
}

struct failing {
    int64_t calls, fail_at, live;
};

static void *fail_once(void *context, void *pointer, size_t bytes)
{
    struct failing *f = context;

    if (bytes == 0) {
        f->live -= pointer != NULL;
        free(pointer);
        return NULL;
    }
    if (++f->calls == f->fail_at)
        return NULL;
    void *moved = realloc(pointer, bytes);
    f->live += moved && !pointer;
    return moved;
}

/* The n-th allocation of a save and a load fails, for every n: a status, nothing kept, the weights
 * and the file as they were. */
static void test_every_allocation_fails_once(void **state)
{
    struct run a = run_new(HEED_F32, 1, 0.5), b = run_new(HEED_F32, 1, 0.5);
    const char *keys[] = {"k"}, *values[] = {"v"};

    (void)state;
    run_step(&a);
    assert_int_equal(heed_params_save(a.params, a.adam, path, keys, values, 1), HEED_OK);
    for (int load = 0; load < 2; load++)
        for (int64_t n = 1, done = 0; !done; n++) {
            struct failing f = {0, n, 0};
            heed_allocator allocator = {fail_once, &f};
            heed_set_allocator(&allocator);
            heed_status status = load ? heed_params_load(b.params, b.adam, path)
                                      : heed_params_save(a.params, a.adam, path, keys, values, 1);
            heed_set_allocator(NULL);
            done = f.calls < n;
            assert_int_equal(status, done ? HEED_OK : HEED_E_NOMEM);
            assert_int_equal(f.live, 0);
            assert_int_equal(heed_adam_steps(b.adam), load && done);
            assert_true(n < 1000);
        }
    assert_same(&a, &b);
    run_free(&a);
    run_free(&b);
}

/* A child saves one constant after the other; killed at any moment, the file holds one of them. */
static void test_killed(void **state)
{
    (void)state;
    unlink(path);
    for (int round = 0; round < 25; round++) {
        heed_params *params;
        heed_tensor *w;
        int ready[2];
        char byte;

        assert_int_equal(pipe(ready), 0);
        assert_int_equal(heed_params_new(HEED_F32, 0, &params), HEED_OK);
        assert_int_equal(
            heed_params_add(params, "w", (int64_t[]){200, 300}, 2, HEED_INIT_ZEROS, 0, &w),
            HEED_OK);
        pid_t child = fork();
        if (child == 0) {
            for (int n = 1;; n++) {
                for (int i = 0; i < 200 * 300; i++)
                    ((float *)w->data)[i] = (float)n;
                if (heed_params_save(params, NULL, path, NULL, NULL, 0) != HEED_OK ||
                    (n == 1 && write(ready[1], "x", 1) != 1))
                    _exit(1);
            }
        }
        assert_int_equal(read(ready[0], &byte, 1), 1);
        struct timespec wait = {0, 100000L * (round * 7 % 40)};
        nanosleep(&wait, NULL);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        close(ready[0]), close(ready[1]);

        assert_int_equal(heed_params_load(params, NULL, path), HEED_OK);
        const float *numbers = w->data;
        assert_true(numbers[0] >= 1);
        for (int i = 1; i < 200 * 300; i++)
            assert_true(numbers[i] == numbers[0]);
        heed_params_free(params);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_goes_on_with_the_same_bits),
        cmocka_unit_test(test_weights_alone_in_another_type),
        cmocka_unit_test(test_another_model),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_every_allocation_fails_once),
        cmocka_unit_test(test_killed),
    };

    return cmocka_run_group_tests(tests, folder_new, folder_remove);
}
