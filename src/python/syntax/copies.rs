//! Statements that differ in nothing but names and strings: the grammar reads the first of them. What is known of one is
//! known of the others, or their trees are copies of its tree, with names, strings and places of their own.

use std::collections::hash_map::Entry;
use std::ops::Range;

use rustc_hash::FxHashMap;
use rustpython_parser::ast::{self, ArgWithDefault, Arguments, Constant, Expr, Identifier, Keyword, Ranged, Stmt};
use rustpython_parser::text_size::{TextRange, TextSize};

use super::form::Forms;
use crate::python::span::{end, from_parser, start, to_parser};
use crate::python::walk;
use crate::source::near;
use crate::source::offset::TextOffset;
use crate::threads;

/// The most forms that are remembered.
const REMEMBERED: usize = 1 << 12;
/// How many blocks around a statement are looked through.
const DEPTH: usize = 16;
/// From this length on, in bytes, what is left out is not joined with what follows: the proof of a rewrite reads all of
/// the statement beside an insertion.
const JOINED: usize = 1 << 10;
/// After so many copies, room is made for as many more: a tree of two lines takes 1.5 kB.
const GROWN: usize = 1 << 10;

/// A function or a simple statement that is not left out of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// From the first token to the last one's end.
    pub span: Range<usize>,
    /// What else its calls depend on; None where that is not certain.
    pub judged: Option<Judged>,
}

/// What says, with a statement's form and the names that count, how its calls are judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    /// The same for statements that have nothing between them that binds a name that counts.
    pub run: u32,
    /// How many names it has.
    pub names: u32,
    /// Those of them that count, by their number.
    pub counted: u64,
    /// How many calls of NIXL's agent it has.
    pub calls: u32,
}

/// Statements of a module whose calls are judged as those of another one are, which is in its tree.
#[derive(Debug, Default)]
pub(crate) struct Alike {
    /// The statements, in order.
    statements: Vec<Copy>,
    /// The others.
    models: Vec<Statement>,
    /// The places of the names and strings of all of them.
    places: Vec<Range<u32>>,
}

/// A statement, with its names and strings.
#[derive(Clone, Debug)]
pub(crate) struct Statement {
    span: Range<usize>,
    places: Range<usize>,
}

/// A statement, and the number of the one that it is like.
#[derive(Debug)]
struct Copy {
    statement: Statement,
    of: usize,
}

/// Where an offset or a name comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    /// The number of the name or string, or of the last one before the offset; None at the statement's beginning.
    place: Option<usize>,
    /// How far behind the end of that, or the statement's beginning, the offset is.
    behind: TextSize,
}

impl Alike {
    /// Each statement, in order, with the number of its model.
    pub(crate) fn statements(&self) -> impl Iterator<Item = (&Statement, usize)> {
        self.statements.iter().map(|copy| (&copy.statement, copy.of))
    }

    /// The models.
    pub(crate) fn models(&self) -> &[Statement] {
        &self.models
    }

    /// Where an offset in a statement comes from.
    pub(crate) fn step(&self, statement: &Statement, offset: TextOffset) -> Option<Step> {
        step(self.places(statement), size(statement.span.start), to_parser(offset))
    }

    /// Where a name in a statement comes from.
    pub(crate) fn step_of_name(&self, text: &str, statement: &Statement, name: &str) -> Option<Step> {
        step_of_name(text, self.places(statement), name)
    }

    /// The offset in another statement of the same form.
    pub(crate) fn offset(&self, statement: &Statement, step: Step) -> TextOffset {
        from_parser(offset(self.places(statement), size(statement.span.start), step))
    }

    /// The name in another statement of the same form.
    pub(crate) fn name<'t>(&self, text: &'t str, statement: &Statement, step: Step) -> Option<&'t str> {
        Some(word(text, &self.places(statement)[step.place?]))
    }

    fn places(&self, statement: &Statement) -> &[Range<u32>] {
        &self.places[statement.places.clone()]
    }
}

impl Statement {
    /// Whether an offset is in it.
    pub(crate) fn contains(&self, offset: TextOffset) -> bool {
        self.span.contains(&offset.0)
    }

    /// Its first token.
    pub(crate) fn start(&self) -> TextOffset {
        TextOffset(self.span.start)
    }
}

/// The statements of a module that are like others.
pub(super) struct Copies<'t> {
    text: &'t str,
    /// The first statement of each form.
    firsts: Vec<Statement>,
    /// Those whose trees are copied.
    copies: Vec<Copy>,
    /// Those that are not.
    pub(super) alike: Alike,
}

/// What is known of a form.
struct Known {
    /// The number of its first statement.
    first: usize,
    /// How many names its statements have.
    names: u32,
    /// How many calls.
    calls: u32,
    /// The number of the one that others are judged by, and on what its judgement depends.
    model: Option<(usize, Judged)>,
}

impl<'t> Copies<'t> {
    /// Those among some statements, which are in order.
    pub(super) fn among(text: &'t str, statements: &[Kept]) -> Self {
        let mut copies = Copies { text, firsts: Vec::new(), copies: Vec::new(), alike: Alike::default() };
        let mut forms = Forms::default();
        let mut known: FxHashMap<Box<[u8]>, Known> = FxHashMap::default();
        for Kept { span, judged } in statements {
            let first = copies.alike.places.len();
            let Some(form) = forms.of_statement(text, span, &mut copies.alike.places) else {
                copies.alike.places.truncate(first);
                continue;
            };
            let statement = Statement { span: span.clone(), places: first..copies.alike.places.len() };
            let is_full = known.len() >= REMEMBERED;
            match known.get_mut(form) {
                Some(known) => copies.add(statement, judged.as_ref(), known),
                None if !is_full => {
                    let (names, calls) = (copies.names(&statement).count() as u32, calls(form));
                    let mut new = Known { first: copies.firsts.len(), names, calls, model: None };
                    new.model =
                        judged.as_ref().filter(|it| it.fits(&new)).map(|it| (copies.model(&statement), it.clone()));
                    known.insert(form.into(), new);
                    copies.firsts.push(statement);
                }
                None => copies.alike.places.truncate(first),
            }
        }
        copies
    }

    /// Adds a statement whose form is known.
    fn add(&mut self, statement: Statement, judged: Option<&Judged>, known: &mut Known) {
        match (judged.filter(|it| it.fits(known)), &known.model) {
            (Some(judged), Some((model, same))) if judged == same && self.has_names_of(&statement, *model, judged) => {
                self.alike.statements.push(Copy { statement, of: *model });
                return;
            }
            (Some(judged), _) => known.model = Some((self.model(&statement), judged.clone())),
            (None, _) => {}
        }
        self.copies.push(Copy { statement, of: known.first });
    }

    fn model(&mut self, statement: &Statement) -> usize {
        self.alike.models.push(statement.clone());
        self.alike.models.len() - 1
    }

    /// Whether a statement has the names that count of another one.
    fn has_names_of(&self, statement: &Statement, model: usize, judged: &Judged) -> bool {
        let mut pairs = self.names(statement).zip(self.names(&self.alike.models[model])).enumerate();
        pairs.all(|(number, (one, other))| judged.counted >> number & 1 == 0 || one == other)
    }

    fn names(&self, statement: &Statement) -> impl Iterator<Item = &'t str> {
        let text = self.text;
        let words = self.alike.places(statement).iter().map(move |place| word(text, place));
        words.filter(|word| !word.starts_with(['"', '\'']))
    }

    /// What the grammar need not read: these statements, and what is left out of the module anyway. What has no tree is joined
    /// where it follows another on the module's own level.
    pub(super) fn and(&self, left_out: &[Range<usize>]) -> Vec<Range<usize>> {
        let spans = |copies: &'_ [Copy]| copies.iter().map(|copy| copy.statement.span.clone()).collect::<Vec<_>>();
        let mut all = [left_out, &spans(&self.alike.statements)].concat();
        all.sort_by_key(|range| range.start);
        all.dedup_by(|next, last| {
            let joined = last.len() < JOINED && follows(self.text, last, next);
            if joined {
                last.end = next.end;
            }
            joined
        });
        all.extend(spans(&self.copies));
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
                from: self.alike.places(first),
                to: self.alike.places(&copy.statement),
                starts: (size(first.span.start), size(copy.statement.span.start)),
                steps,
                step: 0,
            };
            *at(module, copy.statement.span.start, &mut last)? = copier.statement(tree)?;
        }
        Some(())
    }
}

impl Judged {
    /// Whether it says how all calls of a statement of this form are judged.
    fn fits(&self, form: &Known) -> bool {
        (self.names, self.calls) == (form.names, form.calls)
    }
}

/// How many calls a statement of this form has, or more: an opening parenthesis that is no definition's.
fn calls(form: &[u8]) -> u32 {
    // `0xdef` is none.
    let is_word = |at: &usize| at.checked_sub(1).is_none_or(|before| form[before].is_ascii_whitespace());
    let definitions = memchr::memmem::find_iter(form, b"def ").filter(is_word).count();
    memchr::memchr_iter(b'(', form).count().saturating_sub(definitions) as u32
}

/// Whether two statements of the module's own level have nothing but empty lines between them.
fn follows(text: &str, before: &Range<usize>, after: &Range<usize>) -> bool {
    let bytes = text.as_bytes();
    let is_newline = |byte: &u8| matches!(byte, b'\n' | b'\r');
    // Indented, a statement can be at the start of a line all the same, behind a backslash on the line before.
    let head = &bytes[..before.start];
    let line = [&b"\r\n"[..], b"\n", b"\r"].into_iter().find_map(|newline| head.strip_suffix(newline));
    let is_top = line.is_some_and(|line| !line.ends_with(b"\\"));
    is_top && before.end < after.start && bytes[before.end..after.start].iter().all(is_newline)
}

fn word<'t>(text: &'t str, place: &Range<u32>) -> &'t str {
    &text[place.start as usize..place.end as usize]
}

/// A statement that has copies.
struct Template {
    tree: Stmt,
    /// What its nodes have in common with those of each copy, in the order in which they are copied.
    steps: Vec<Step>,
}

/// Where an offset comes from, in a statement with these names and strings: between them, all of its form have the same
/// text.
fn step(places: &[Range<u32>], start: TextSize, offset: TextSize) -> Option<Step> {
    let place = places.partition_point(|place| place.start < offset.into()).checked_sub(1);
    let from = place.map_or(start, |place| TextSize::new(places[place].end));
    Some(Step { place, behind: offset.checked_sub(from)? })
}

fn step_of_name(text: &str, places: &[Range<u32>], name: &str) -> Option<Step> {
    let place = places.iter().position(|place| word(text, place) == name)?;
    Some(Step { place: Some(place), behind: TextSize::new(0) })
}

fn offset(places: &[Range<u32>], start: TextSize, step: Step) -> TextSize {
    step.place.map_or(start, |place| TextSize::new(places[place].end)) + step.behind
}

/// An offset as the parser's; a text that was parsed has no larger ones.
fn size(offset: usize) -> TextSize {
    to_parser(TextOffset(offset))
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

/// Copies a statement's tree. It knows the nodes that statements with a form have.
struct Copier<'c> {
    text: &'c str,
    /// The places of the names and strings.
    from: &'c [Range<u32>],
    /// Those of the copy's.
    to: &'c [Range<u32>],
    /// Where both statements begin.
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

    fn offset(&mut self, at: TextSize) -> Option<TextSize> {
        let step = self.next(|copier| step(copier.from, copier.starts.0, at))?;
        Some(offset(self.to, self.starts.1, step))
    }

    fn range(&mut self, node: &impl Ranged) -> Option<TextRange> {
        Some(TextRange::new(self.offset(node.start())?, self.offset(node.end())?))
    }

    fn name(&mut self, name: &Identifier) -> Option<Identifier> {
        let step = self.next(|copier| step_of_name(copier.text, copier.from, name))?;
        Some(Identifier::new(word(self.text, &self.to[step.place?])))
    }

    /// The value of a string.
    fn string(&mut self, node: &impl Ranged) -> Option<Constant> {
        let step = self.next(|copier| {
            let place = copier.from.iter().position(|place| TextSize::new(place.start) == node.start())?;
            Some(Step { place: Some(place), behind: TextSize::new(0) })
        })?;
        let place = &self.to[step.place?];
        Some(Constant::Str(self.text.get(place.start as usize + 1..place.end as usize - 1)?.into()))
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
            Expr::Constant(node) => {
                let value = if node.value.is_str() { self.string(node)? } else { node.value.clone() };
                Expr::Constant(ast::ExprConstant { range, value, kind: node.kind.clone() })
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
    use crate::python::syntax::{parse, parse_rest};

    /// How many functions of a text are copies; the tree is the same.
    fn copied(text: &str) -> usize {
        let mut functions = Vec::new();
        let mut at = 0;
        for (end, mark) in text.match_indices("#\n") {
            let start = at + text[at..end].find("def ").unwrap();
            functions.push(start..start + text[start..end].trim_end().len());
            at = end + mark.len();
        }
        let kept: Vec<Kept> = functions.into_iter().map(|span| Kept { span, judged: None }).collect();
        let rest = parse_rest(text, &[], &kept).expect("it parses");
        assert_eq!(rest.module, parse(text).unwrap(), "{text}");
        Copies::among(text, &kept).copies.len()
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
            ("def f(a='b'):\n    return g('c', 1, None)\n", "def ff(a=''):\n    return gg('d\"e', 1, None)\n"),
        ] {
            let wanted = usize::from(other.is_ascii());
            assert_eq!(copied(&format!("{one}#\nx = 1\n{other}#\n{one}#\n")), 1 + wanted, "{other}");
        }
    }

    #[test]
    fn a_simple_statement_can_be_a_copy() {
        for (one, other, is_copy) in [
            ("x = f('a')", "yy = gg('böse')", true),
            ("x: T = f(a.b)", "yy: TT = g(c.dd)", true),
            ("f(a, b='c')", "ff(aa, bb='')", true),
            ("x, y = z", "xx, y = zz", true),
            ("(x).y = z", "(x).y = z", true),
            ("x = f('a'); y", "x = f('a'); y", false),
            ("type x = y", "type x = y", false),
            ("f('a'\n  'b')", "f('a'\n  'b')", false),
            ("x += y", "x += y", false),
        ] {
            let text = format!("pass\n{one}\n{other}\n");
            let start = 6 + one.len();
            let kept = [5..5 + one.len(), start..start + other.len()].map(|span| Kept { span, judged: None });
            let rest = parse_rest(&text, &[], &kept).expect("it parses");
            assert_eq!(rest.module, parse(&text).unwrap(), "{text}");
            assert_eq!(Copies::among(&text, &kept).copies.len(), usize::from(is_copy), "{text}");
        }
    }

    #[test]
    fn a_statement_is_judged_as_another_where_all_calls_are_known() {
        let form = Known { first: 0, names: 3, calls: 1, model: None };
        let fits = |names, calls| Judged { run: 0, names, counted: 0, calls }.fits(&form);
        assert!(fits(3, 1) && !fits(2, 1) && !fits(3, 2));
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
            ("def f(a): return b'a'\n", "def f(a): return b'a'\n"),
            ("def f(a): return 'a' 'b'\n", "def f(a): return 'a' 'b'\n"),
            ("def f(a): return 'a\\n'\n", "def f(a): return 'a\\n'\n"),
            ("def f(a): return \"\"\"a\"\"\"\n", "def f(a): return \"\"\"a\"\"\"\n"),
            ("def f(a): return 'a'\n", "def f(a): return \"a\"\n"),
            ("def f(a): return 1\n", "def f(a): return 2\n"),
            ("def f(a): return 1.5\n", "def f(a): return 1.5\n"),
            ("def f(a): type x = a\n", "def f(a): type x = a\n"),
            ("def f(a): return (b := a)\n", "def f(a): return (b := a)\n"),
            ("def f(a): return not a\n", "def f(a): return not a\n"),
            ("def f(*a): return a\n", "def f(*a): return a\n"),
            ("def f(a): return a.match\n", "def f(a): return a.match\n"),
        ] {
            assert_eq!(copied(&format!("{one}#\n{other}#\n")), 0, "{one}");
        }
    }
}
