/* SPDX-License-Identifier: Apache-2.0 */
#include "server/http.h"
