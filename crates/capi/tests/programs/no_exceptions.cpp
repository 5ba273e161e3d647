// A host without exceptions: values say what failed.

#include "check.h"

#include <rekindle.hpp>

int main() {
    auto cache = rekindle::cache::open(rekindle::options().in_memory(), std::nothrow);
    CHECK(cache);
    auto session = rekindle::session::start(*cache, std::nothrow);
    CHECK(session);
    rekindle::host host;
    rekindle::definition definition{"user/one", "long factory(void) { return 1; }"};
    auto failed = session->eval(
        definition, host, [](rekindle::recorder &, rekindle::compilation &compilation) { compilation.fail("no"); },
        std::nothrow);
    CHECK(!failed && failed.why().text() == "no" && failed.why().code() == REKINDLE_ERROR_CODE_HOST);
    auto compile = [&](rekindle::recorder &, rekindle::compilation &compilation) {
        rekindle_bytes object = compiled_by("CC", "c", rekindle::detail::text(definition.text));
        compilation.object({static_cast<const std::byte *>(object.data), object.size});
        free(const_cast<void *>(object.data));
        compilation.factory("factory");
    };
    auto evaluated = session->eval(definition, host, compile, std::nothrow);
    CHECK(evaluated && evaluated->outcome() == rekindle::outcome::miss);
    CHECK((*std::move(evaluated)).run<long()>(rekindle::ran::pure) == 1);
    CHECK(session->changed("user/one", std::nothrow));
    CHECK(cache->flush(std::nothrow));
}
