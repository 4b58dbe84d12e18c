/* SPDX-License-Identifier: Apache-2.0
 *
 * A stranger's program: all it knows of heed is what is installed. */
#include <heed/engine.h>
#include <stdio.h>

int main(void)
{
    heed_engine *engine;
    heed_engine_opts opts = {.must_exist = true};

    if (heed_engine_open("/nowhere/at/all", &opts, &engine) != HEED_E_NOTFOUND)
        return 1;
    return puts(heed_version()) < 0;
}
