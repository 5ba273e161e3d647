// A library that uses the cache, for a host that knows nothing of it.

#include "check.h"

#include <rekindle.hpp>

#include <string>

extern "C" long plugin_helper() { return 20; }

extern "C" long plugin_run(const char *folder, int *hits) {
    // What the library has is no business of the process at large, so that it names it.
    auto cache = rekindle::cache::open(rekindle::options().folder(folder).symbol("plugin_helper", &plugin_helper));
    rekindle::session session(cache);
    rekindle::host host;
    long sum = 0;
    for (int number = 0; number < 2; number++) {
        std::string text = "long plugin_helper(void); long factory(void) { return plugin_helper() + " +
                           std::to_string(number) + "; }";
        rekindle::definition definition{"plugin/" + std::to_string(number), text};
        std::string name = "plugin/" + std::to_string(number);
        definition.name = name;
        sum += session
                   .eval(definition, host,
                         [&](rekindle::recorder &, rekindle::compilation &compilation) {
                             rekindle_bytes object = compiled_by("CC", "c", rekindle::detail::text(definition.text));
                             compilation.object({static_cast<const std::byte *>(object.data), object.size});
                             free(const_cast<void *>(object.data));
                             compilation.factory("factory");
                         })
                   .run<long()>(rekindle::ran::pure);
    }
    *hits += static_cast<int>(session.statistics().hits);
    return sum;
}
