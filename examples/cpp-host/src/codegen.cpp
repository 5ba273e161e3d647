#include "codegen.hpp"

#include "core.hpp"

#include <cctype>
#include <iomanip>
#include <limits>

namespace host {

namespace {

std::string munged(std::string_view name) {
    std::ostringstream out;
    for (unsigned char c : name) {
        if (std::isalnum(c)) out << c;
        else out << '_' << std::hex << std::setw(2) << std::setfill('0') << int(c);
    }
    return out.str();
}

std::string string_literal(std::string_view text) {
    std::ostringstream out;
    out << '"';
    for (unsigned char c : text) out << '\\' << std::oct << std::setw(3) << std::setfill('0') << int(c);
    out << '"';
    return out.str();
}

std::string name_of(const object *value) {
    if (value->tag != type::symbol) fail("not a symbol", value);
    return std::string(static_cast<const symbol *>(value)->value);
}

std::vector<object *> items(object *value) {
    std::vector<object *> made;
    if (value->tag == type::nil) return made;
    if (value->tag != type::list) fail("not a list", value);
    for (auto *rest = static_cast<list *>(value); rest; rest = rest->rest) made.push_back(rest->first);
    return made;
}

// What is inlined, as long as the symbol means the function of `core`.
const std::map<std::string, std::string_view> inlined = {
    {"core/+", "add"},    {"core/-", "subtract"}, {"core/*", "multiply"},
    {"core//", "divide"}, {"core/<", "less"},     {"core/=", "equals"},
};

class generator {
public:
    generator(std::string_view name_space, std::string_view name) : name_space_(name_space), name_(name) {}

    generated run(object *form) {
        std::vector<object *> parts = form->tag == type::list ? items(form) : std::vector<object *>{};
        std::string head = !parts.empty() && parts[0]->tag == type::symbol ? name_of(parts[0]) : "";
        std::string factory;
        if (head == "defn" && parts.size() >= 3) {
            std::string full = std::string(name_space_) + "/" + std::string(name_);
            std::string structure = "function_" + munged(full);
            definitions_ << "struct " << structure << " final : host::function {\n    " << structure
                         << "() : host::function(" << string_literal(full) << ", " << items(parts[2]).size() << ") {}\n"
                         << "    host::object *call(host::arguments arguments) override {\n        "
                         << function_body(parts, 2) << "\n    }\n};\n";
            factory = "new " + structure;
        } else if (head == "def" && parts.size() == 3) {
            factory = expression(parts[2], {});
        } else {
            factory = expression(form, {});
        }
        std::ostringstream source;
        source << "namespace {\n" << variables_of_unit_.str() << definitions_.str() << "}\nextern \"C\" host::object *" << factory_name
               << "() {\n" << initial_.str() << "    return " << factory << ";\n}\n";
        result_.source = source.str();
        return std::move(result_);
    }

private:
    using locals = std::set<std::string>;

    std::string function_body(const std::vector<object *> &parts, std::size_t parameters_at, locals known = {}) {
        std::ostringstream out;
        std::size_t index = 0;
        for (object *parameter : items(parts[parameters_at])) {
            std::string name = name_of(parameter);
            out << "[[maybe_unused]] host::object *const l_" << munged(name) << " = arguments[" << index++ << "]; ";
            known.insert(name);
        }
        out << sequence(parts, parameters_at + 1, known);
        return out.str();
    }

    // Statements of which the last returns its value.
    std::string sequence(const std::vector<object *> &parts, std::size_t from, const locals &known) {
        if (from >= parts.size()) return "return host::nil();";
        std::string out;
        for (std::size_t at = from; at + 1 < parts.size(); at++) out += "(void)(" + expression(parts[at], known) + "); ";
        return out + "return " + expression(parts.back(), known) + ";";
    }

    std::string constant(const std::string &initial) {
        std::string name = "constant_" + std::to_string(count_++);
        variables_of_unit_ << "host::object *" << name << ";\n";
        initial_ << "    " << name << " = " << initial << ";\n";
        return name;
    }

    std::string literal(object *value) {
        switch (value->tag) {
        case type::nil: return "host::nil()";
        case type::boolean: return is_true(value) ? "host::truth(true)" : "host::truth(false)";
        case type::integer: return constant("new host::integer(" + std::to_string(static_cast<integer *>(value)->value) + "LL)");
        case type::real: {
            std::ostringstream out;
            out << std::setprecision(std::numeric_limits<double>::max_digits10) << std::scientific << static_cast<real *>(value)->value;
            return constant("new host::real(" + out.str() + ")");
        }
        case type::string: return constant("new host::string(" + string_literal(static_cast<string *>(value)->value) + ")");
        case type::keyword: return constant("host::intern_keyword(" + string_literal(static_cast<keyword *>(value)->value) + ")");
        case type::symbol: return constant("new host::symbol(" + string_literal(static_cast<symbol *>(value)->value) + ")");
        case type::list: {
            auto *list = static_cast<host::list *>(value);
            std::string rest = list->rest ? "static_cast<host::list *>(" + literal(list->rest) + ")" : "nullptr";
            return constant("new host::list(" + literal(list->first) + ", " + rest + ")");
        }
        default: fail("no constant", value);
        }
    }

    // The definition that a symbol means.
    std::string resolve(const std::string &name) {
        std::string full;
        if (name == name_) {
            full = std::string(name_space_) + "/" + name;
        } else {
            result_.symbols.insert(name);
            full = meaning(name_space_, name);
            if (full.empty()) throw error("nothing is called " + name);
        }
        result_.references.insert(full);
        return full;
    }

    std::string variable(const std::string &full) {
        auto [found, is_new] = variables_.try_emplace(full, "variable_" + std::to_string(variables_.size()));
        if (is_new) {
            auto slash = full.find('/');
            variables_of_unit_ << "host::var *" << found->second << ";\n";
            initial_ << "    " << found->second << " = host::intern(" << string_literal(full.substr(0, slash)) << ", "
                     << string_literal(full.substr(slash + 1)) << ");\n";
        }
        return found->second;
    }

    std::string expression(object *form, const locals &known) {
        if (form->tag == type::symbol) {
            std::string name = name_of(form);
            if (known.contains(name)) return "l_" + munged(name);
            return "host::get(" + variable(resolve(name)) + ")";
        }
        if (form->tag != type::list) return literal(form);
        std::vector<object *> parts = items(form);
        if (parts[0]->tag == type::symbol && !known.contains(name_of(parts[0])))
            if (std::string special = special_form(name_of(parts[0]), parts, known); !special.empty()) return special;
        std::string out = "host::call(" + expression(parts[0], known) + ", {";
        for (std::size_t at = 1; at < parts.size(); at++) out += (at > 1 ? ", " : "") + expression(parts[at], known);
        return out + "})";
    }

    std::string special_form(const std::string &head, const std::vector<object *> &parts, locals known) {
        const std::string begin = "[&]() -> host::object * { ";
        if (head == "quote" && parts.size() == 2) return literal(parts[1]);
        if (head == "do") return begin + sequence(parts, 1, known) + " }()";
        if (head == "if" && (parts.size() == 3 || parts.size() == 4)) {
            std::string otherwise = parts.size() == 4 ? expression(parts[3], known) : "host::nil()";
            return "(host::is_true(" + expression(parts[1], known) + ") ? " + expression(parts[2], known) + " : " + otherwise + ")";
        }
        if (head == "let" && parts.size() >= 3) {
            std::string out = begin;
            std::vector<object *> bindings = items(parts[1]);
            for (std::size_t at = 0; at + 1 < bindings.size(); at += 2) {
                std::string name = name_of(bindings[at]);
                out += "[[maybe_unused]] host::object *const b_" + munged(name) + " = " + expression(bindings[at + 1], known) + "; { " +
                       "[[maybe_unused]] host::object *const l_" + munged(name) + " = b_" + munged(name) + "; ";
                known.insert(name);
            }
            return out + sequence(parts, 2, known) + std::string(bindings.size() / 2, '}') + " }()";
        }
        if (head == "fn" && parts.size() >= 3) {
            std::string name = string_literal(std::string(name_space_) + "/fn");
            return "host::make_function(" + name + ", " + std::to_string(items(parts[1]).size()) +
                   ", [=]([[maybe_unused]] host::arguments arguments) -> host::object * { " + function_body(parts, 1, known) + " })";
        }
        // (try expression (catch name expression))
        if (head == "try" && parts.size() == 3) {
            std::vector<object *> handler = items(parts[2]);
            if (handler.size() != 3) throw error("try needs (catch name expression)");
            std::string name = name_of(handler[1]), tried = expression(parts[1], known);
            known.insert(name);
            return begin + "try { return " + tried + "; } catch (const host::error &caught) { [[maybe_unused]] host::object *const l_" +
                   munged(name) + " = new host::string(host::text(caught.what())); return " + expression(handler[2], known) + "; } }()";
        }
        // (matches "pattern" expression)
        if (head == "matches" && parts.size() == 3 && parts[1]->tag == type::string) {
            std::string pattern = string_literal(static_cast<string *>(parts[1])->value);
            return "host::matches([]() -> const std::regex & { static const std::regex pattern(" + pattern +
                   "); return pattern; }(), " + expression(parts[2], known) + ")";
        }
        if (parts.size() == 3)
            if (auto found = inlined.find(meaning(name_space_, head)); found != inlined.end()) {
                resolve(head);
                return "host::" + std::string(found->second) + "(" + expression(parts[1], known) + ", " + expression(parts[2], known) + ")";
            }
        return "";
    }

    std::string_view name_space_, name_;
    generated result_;
    // Variables of the unit, what the factory puts into them first, and structures.
    std::ostringstream variables_of_unit_, initial_, definitions_;
    std::map<std::string, std::string> variables_;
    int count_ = 0;
};

} // namespace

std::string meaning(std::string_view name_space, std::string_view symbol) {
    var *found = find(name_space, symbol);
    return found ? std::string(found->name) : "";
}

generated generate(std::string_view name_space, std::string_view name, object *form) {
    return generator(name_space, name).run(form);
}

} // namespace host
