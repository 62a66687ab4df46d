//! Functions that differ in nothing but their names: the grammar reads the first of them, and the trees of the others are
//! copies of its tree, with names and places of their own.

use std::collections::hash_map::Entry;
use std::ops::Range;

use rustc_hash::FxHashMap;
use rustpython_parser::ast::{self, ArgWithDefault, Arguments, Expr, Identifier, Keyword, Ranged, Stmt};
use rustpython_parser::text_size::{TextRange, TextSize};

use super::form::Forms;
use crate::python::span::{end, start};
use crate::python::walk;
use crate::source::near;
use crate::threads;

/// The most forms that are remembered.
const REMEMBERED: usize = 1 << 12;
/// How many blocks around a function are looked through.
const DEPTH: usize = 16;
/// After so many copies, room is made for as many more: a tree of two lines takes 1.5 kB.
const GROWN: usize = 1 << 10;

/// The functions of a module that are copies of others.
pub(super) struct Copies<'t> {
    text: &'t str,
    /// The first function of each form.
    firsts: Vec<Function>,
    copies: Vec<Copy>,
    /// The places of the names of all these functions.
    places: Vec<Range<u32>>,
}

/// A function and its names.
struct Function {
    span: Range<usize>,
    places: Range<usize>,
}

/// A function, and the number of the one that it is a copy of.
struct Copy {
    function: Function,
    of: usize,
}

impl<'t> Copies<'t> {
    /// Those among some functions, which are in order: from the first token to the last one's end.
    pub(super) fn among(text: &'t str, functions: &[Range<usize>]) -> Self {
        let mut copies = Copies { text, firsts: Vec::new(), copies: Vec::new(), places: Vec::new() };
        let mut forms = Forms::default();
        let mut known: FxHashMap<Box<[u8]>, usize> = FxHashMap::default();
        for span in functions {
            let first = copies.places.len();
            let Some(form) = forms.of_function(text, span, &mut copies.places) else {
                copies.places.truncate(first);
                continue;
            };
            let function = Function { span: span.clone(), places: first..copies.places.len() };
            match known.get(form) {
                Some(&of) => copies.copies.push(Copy { function, of }),
                None if known.len() < REMEMBERED => {
                    known.insert(form.into(), copies.firsts.len());
                    copies.firsts.push(function);
                }
                None => copies.places.truncate(first),
            }
        }
        copies
    }

    /// What the grammar need not read: the copies, and what is left out of the module anyway.
    pub(super) fn and(&self, left_out: &[Range<usize>]) -> Vec<Range<usize>> {
        let copies = self.copies.iter().map(|copy| copy.function.span.clone());
        let mut all: Vec<Range<usize>> = left_out.iter().cloned().chain(copies).collect();
        all.sort_by_key(|range| range.start);
        all
    }

    /// Puts the copies into a module that has `pass` in their places. None where one cannot be made.
    pub(super) fn add_to(&self, module: &mut [Stmt]) -> Option<()> {
        let mut templates: FxHashMap<usize, Template> = FxHashMap::default();
        let (mut last, mut last_first) = (0, 0);
        for (number, copy) in self.copies.iter().enumerate() {
            if number % GROWN == 0 {
                threads::grow_heap(threads::HEAP_BYTES);
            }
            let first = &self.firsts[copy.of];
            let Template { tree, steps } = match templates.entry(copy.of) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => {
                    let tree = at(module, first.span.start, &mut last_first)?.clone();
                    new.insert(Template { tree, steps: Vec::new() })
                }
            };
            let mut copier = Copier {
                text: self.text,
                from: &self.places[first.places.clone()],
                to: &self.places[copy.function.places.clone()],
                starts: (size(first.span.start), size(copy.function.span.start)),
                steps,
                step: 0,
            };
            *at(module, copy.function.span.start, &mut last)? = copier.statement(tree)?;
        }
        Some(())
    }
}

/// A function that has copies.
struct Template {
    tree: Stmt,
    /// What its nodes have in common with those of each copy, in the order in which they are copied.
    steps: Vec<Step>,
}

/// Where an offset or a name comes from.
#[derive(Clone, Copy)]
struct Step {
    /// The number of the name, or of the last one before the offset; None at the function's beginning.
    name: Option<usize>,
    /// How far behind the end of that name, or the function's beginning, the offset is.
    behind: TextSize,
}

/// An offset as the parser's; a text that was parsed has no larger ones.
fn size(offset: usize) -> TextSize {
    crate::python::span::to_parser(crate::source::offset::TextOffset(offset))
}

/// The statement that begins at an offset. `last` is the number of the top-level statement that the search before this one
/// ended at.
fn at<'m>(module: &'m mut [Stmt], offset: usize, last: &mut usize) -> Option<&'m mut Stmt> {
    *last = near::partition_point(module, *last, |statement| end(statement).0 <= offset);
    let mut statement = module.get_mut(*last)?;
    for _ in 0..DEPTH {
        if start(statement).0 == offset {
            return Some(statement);
        }
        statement = walk::bodies_mut(statement).into_iter().find_map(|body| {
            let number = body.partition_point(|statement| end(statement).0 <= offset);
            body.get_mut(number).filter(|statement| start(*statement).0 <= offset)
        })?;
    }
    None
}

/// Copies a function's tree. It knows the nodes that functions with a form have.
struct Copier<'c> {
    text: &'c str,
    /// The places of the names.
    from: &'c [Range<u32>],
    /// Those of the copy's.
    to: &'c [Range<u32>],
    /// Where both functions begin.
    starts: (TextSize, TextSize),
    /// The template's, as far as they are known.
    steps: &'c mut Vec<Step>,
    /// The number of the next one.
    step: usize,
}

impl Copier<'_> {
    /// The next step; the first copy finds it out.
    fn next(&mut self, find: impl FnOnce(&Self) -> Option<Step>) -> Option<Step> {
        if self.step == self.steps.len() {
            let step = find(self)?;
            self.steps.push(step);
        }
        self.step += 1;
        Some(self.steps[self.step - 1])
    }

    /// Between two names, both have the same text.
    fn offset(&mut self, offset: TextSize) -> Option<TextSize> {
        let step = self.next(|copier| {
            let name = copier.from.partition_point(|place| place.start < offset.into()).checked_sub(1);
            let from = name.map_or(copier.starts.0, |name| TextSize::new(copier.from[name].end));
            Some(Step { name, behind: offset.checked_sub(from)? })
        })?;
        let to = step.name.map_or(self.starts.1, |name| TextSize::new(self.to[name].end));
        Some(to + step.behind)
    }

    fn range(&mut self, node: &impl Ranged) -> Option<TextRange> {
        Some(TextRange::new(self.offset(node.start())?, self.offset(node.end())?))
    }

    fn name(&mut self, name: &Identifier) -> Option<Identifier> {
        let step = self.next(|copier| {
            let number = copier.from.iter().position(|place| copier.text(place) == name.as_str())?;
            Some(Step { name: Some(number), behind: TextSize::new(0) })
        })?;
        Some(Identifier::new(self.text(&self.to[step.name?])))
    }

    fn text(&self, place: &Range<u32>) -> &str {
        &self.text[place.start as usize..place.end as usize]
    }

    fn statement(&mut self, statement: &Stmt) -> Option<Stmt> {
        let range = self.range(statement)?;
        Some(match statement {
            Stmt::FunctionDef(node) if node.decorator_list.is_empty() && node.type_params.is_empty() => {
                Stmt::FunctionDef(ast::StmtFunctionDef {
                    range,
                    name: self.name(&node.name)?,
                    args: Box::new(self.arguments(&node.args)?),
                    body: node.body.iter().map(|statement| self.statement(statement)).collect::<Option<_>>()?,
                    decorator_list: Vec::new(),
                    returns: self.boxed(node.returns.as_deref())?,
                    type_comment: node.type_comment.clone(),
                    type_params: Vec::new(),
                })
            }
            Stmt::Return(node) => Stmt::Return(ast::StmtReturn { range, value: self.boxed(node.value.as_deref())? }),
            Stmt::Assign(node) => Stmt::Assign(ast::StmtAssign {
                range,
                targets: self.expressions(&node.targets)?,
                value: Box::new(self.expression(&node.value)?),
                type_comment: node.type_comment.clone(),
            }),
            Stmt::AnnAssign(node) => Stmt::AnnAssign(ast::StmtAnnAssign {
                range,
                target: Box::new(self.expression(&node.target)?),
                annotation: Box::new(self.expression(&node.annotation)?),
                value: self.boxed(node.value.as_deref())?,
                simple: node.simple,
            }),
            Stmt::Expr(node) => Stmt::Expr(ast::StmtExpr { range, value: Box::new(self.expression(&node.value)?) }),
            _ => return None,
        })
    }

    fn arguments(&mut self, arguments: &Arguments) -> Option<Arguments> {
        let Arguments { range, posonlyargs, args, vararg: None, kwonlyargs, kwarg: None } = arguments else {
            return None;
        };
        if !posonlyargs.is_empty() || !kwonlyargs.is_empty() {
            return None;
        }
        let args = args.iter().map(|argument| self.argument(argument)).collect::<Option<_>>()?;
        Some(Arguments {
            range: *range,
            posonlyargs: Vec::new(),
            args,
            vararg: None,
            kwonlyargs: Vec::new(),
            kwarg: None,
        })
    }

    fn argument(&mut self, argument: &ArgWithDefault) -> Option<ArgWithDefault> {
        let def = ast::Arg {
            range: self.range(&argument.def)?,
            arg: self.name(&argument.def.arg)?,
            annotation: self.boxed(argument.def.annotation.as_deref())?,
            type_comment: argument.def.type_comment.clone(),
        };
        Some(ArgWithDefault { range: argument.range, def, default: self.boxed(argument.default.as_deref())? })
    }

    fn boxed(&mut self, expression: Option<&Expr>) -> Option<Option<Box<Expr>>> {
        match expression {
            Some(expression) => Some(Some(Box::new(self.expression(expression)?))),
            None => Some(None),
        }
    }

    fn expressions(&mut self, expressions: &[Expr]) -> Option<Vec<Expr>> {
        expressions.iter().map(|expression| self.expression(expression)).collect()
    }

    fn expression(&mut self, expression: &Expr) -> Option<Expr> {
        let range = self.range(expression)?;
        Some(match expression {
            Expr::Name(node) => Expr::Name(ast::ExprName { range, id: self.name(&node.id)?, ctx: node.ctx }),
            Expr::Attribute(node) => Expr::Attribute(ast::ExprAttribute {
                range,
                value: Box::new(self.expression(&node.value)?),
                attr: self.name(&node.attr)?,
                ctx: node.ctx,
            }),
            Expr::Call(node) => Expr::Call(ast::ExprCall {
                range,
                func: Box::new(self.expression(&node.func)?),
                args: self.expressions(&node.args)?,
                keywords: node.keywords.iter().map(|keyword| self.keyword(keyword)).collect::<Option<_>>()?,
            }),
            Expr::Tuple(node) => {
                Expr::Tuple(ast::ExprTuple { range, elts: self.expressions(&node.elts)?, ctx: node.ctx })
            }
            // None, True or False.
            Expr::Constant(node) => {
                Expr::Constant(ast::ExprConstant { range, value: node.value.clone(), kind: node.kind.clone() })
            }
            _ => return None,
        })
    }

    fn keyword(&mut self, keyword: &Keyword) -> Option<Keyword> {
        let arg = match &keyword.arg {
            Some(name) => Some(self.name(name)?),
            None => None,
        };
        Some(Keyword { range: self.range(keyword)?, arg, value: self.expression(&keyword.value)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::syntax::{parse, parse_without};

    /// How many functions of a text are copies; the tree is the same.
    fn copied(text: &str) -> usize {
        let mut functions = Vec::new();
        let mut at = 0;
        for (end, mark) in text.match_indices("#\n") {
            let start = at + text[at..end].find("def ").unwrap();
            functions.push(start..start + text[start..end].trim_end().len());
            at = end + mark.len();
        }
        assert_eq!(parse_without(text, &[], &functions), Some(parse(text).unwrap()), "{text}");
        Copies::among(text, &functions).copies.len()
    }

    #[test]
    fn a_copy_is_what_the_grammar_reads() {
        for (one, other) in [
            ("def f(a):\n    return a.b(c)\n", "def long(x):\n    return x.y(z_9)\n"),
            ("def f(a):\n    return a.a(f)\n", "def gg(hh):\n    return hh.hh(gg)\n"),
            ("def f(): return\n", "def gg(): return\n"),
            (
                "def f(a: b, c=d, e: f = None):\n    a = c, e\n",
                "def gg(a1: b1, c1=d1, e: gg = None):\n    a1 = c1, e\n",
            ),
            (
                "def f(\n  a):\n    b: c = d(e, f=g(),\n\n  )\n    (b)()\n",
                "def ff(\n  a):\n    b: c = d(e, ff=gg(),\n\n  )\n    (b)()\n",
            ),
            (
                "def f(a):\n    def g(b): return b, a\n    return (g, (True))\n",
                "def h(i):\n    def j(kk): return kk, i\n    return (j, (True))\n",
            ),
            ("def f(a):\r\n\treturn a.b(c,)\r\n", "def äf(a):\r\n\treturn a.b(c,)\r\n"),
        ] {
            let wanted = usize::from(other.is_ascii());
            assert_eq!(copied(&format!("{one}#\nx = 1\n{other}#\n{one}#\n")), 1 + wanted, "{other}");
        }
    }

    #[test]
    fn a_copy_can_be_in_any_block() {
        let text = "def f(a):\n        return g(a)\n#\nclass C:\n    x = 1\n    def ff(b):\n        return h(b)\n    #\n    try:\n        \
                    pass\n    except E:\n        if x: pass\n        else:\n          def fff(b):\n            return h(b)\n          #\n\
                    def l():\n        return\n    #\n";
        assert_eq!(copied(&text.replace("    #\n", "#\n")), 1);
    }

    #[test]
    fn others_are_none() {
        for (one, other) in [
            ("def f(a): return a\n", "def f(a): return b\n"),
            ("def f(a): return a\n", "def f(a):  return a\n"),
            ("def f(a): return 'a'\n", "def f(a): return 'a'\n"),
            ("def f(a): return 1\n", "def f(a): return 1\n"),
            ("def f(a): return (b := a)\n", "def f(a): return (b := a)\n"),
            ("def f(a): return not a\n", "def f(a): return not a\n"),
            ("def f(*a): return a\n", "def f(*a): return a\n"),
            ("def f(a): return a.match\n", "def f(a): return a.match\n"),
        ] {
            assert_eq!(copied(&format!("{one}#\n{other}#\n")), 0, "{one}");
        }
    }
}
