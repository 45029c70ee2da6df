// Random numbers for tests: splitmix64, which is a counter put through a strong mix, so that any
// seed is good.
#include "check.h"
#include "check_state.h"

uint64_t check_seed(void) {
    return check_state.seed;
}

check_rng check_rng_make(uint64_t seed) {
    return (check_rng){.state = seed};
}

uint64_t check_rng_next(check_rng *rng) {
    rng->state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t mixed = rng->state;
    mixed = (mixed ^ (mixed >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    mixed = (mixed ^ (mixed >> 27)) * UINT64_C(0x94D049BB133111EB);
    return mixed ^ (mixed >> 31);
}

static uint64_t below(check_rng *rng, uint64_t bound) {
    // Numbers past the last whole multiple of `bound` would make the small results likelier.
    uint64_t unfair = (UINT64_MAX - bound + 1) % bound;
    uint64_t number = check_rng_next(rng);
    while (number < unfair) {
        number = check_rng_next(rng);
    }
    return number % bound;
}

size_t check_rng_below(check_rng *rng, uint64_t bound) {
    return (size_t)below(rng, bound);
}

size_t check_rng_between(check_rng *rng, size_t low, size_t high) {
    uint64_t span = (uint64_t)high - low;
    if (span == UINT64_MAX) {
        return (size_t)check_rng_next(rng);
    }
    return low + (size_t)below(rng, span + 1);
}

size_t check_rng_size(check_rng *rng, size_t max) {
    unsigned bits = 0;
    while (bits < 64 && ((uint64_t)max >> bits) != 0) {
        bits++;
    }
    uint64_t wanted = below(rng, (uint64_t)bits + 1);
    if (wanted == 0) {
        return 0;
    }
    size_t low = (size_t)((uint64_t)1 << (wanted - 1));
    size_t high = low - 1 + low;
    return check_rng_between(rng, low, high < max ? high : max);
}

bool check_rng_chance(check_rng *rng, unsigned percent) {
    return check_rng_below(rng, 100) < percent;
}

size_t check_scale(size_t count) {
    double scaled = (double)count * check_state.scale;
    if (check_state.scale >= 1.0 && scaled >= (double)SIZE_MAX) {
        return SIZE_MAX;
    }
    return scaled < 1.0 ? 1 : (size_t)scaled;
}
