//! From tokens to a tree.

use serde_json::Value;

use super::TemplateError;
use super::lex::{Piece, Token, pieces};

/// A part of a template.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Text(String),
    /// `{{pipeline}}`, or with a variable to set instead of printing.
    Print(Option<String>, Expr),
    If(Expr, Vec<Node>, Vec<Node>),
    With(Option<String>, Expr, Vec<Node>, Vec<Node>),
    /// Variables for key and value, what to walk over, body, else.
    Range(Vec<String>, Expr, Vec<Node>, Vec<Node>),
}

/// Something with a value.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    Literal(Value),
    /// Fields of the dot.
    Field(Vec<String>),
    Variable(String, Vec<String>),
    /// Fields of another value.
    Of(Box<Expr>, Vec<String>),
    Call(String, Vec<Expr>),
    /// `.Label "name"`: a field that takes arguments.
    Method(Vec<String>, Vec<Expr>),
}

pub(super) fn parse(template: &str) -> Result<Vec<Node>, TemplateError> {
    let mut parser = Parser { pieces: pieces(template)?.into_iter() };
    let (nodes, stop) = parser.block()?;
    match stop {
        Stop::End => Ok(nodes),
        _ => Err(TemplateError::new(":1: unexpected {{end}} or {{else}}")),
    }
}

struct Parser {
    pieces: std::vec::IntoIter<Piece>,
}

/// What ended a block.
enum Stop {
    End,
    EndWord,
    Else(Vec<Token>),
}

impl Parser {
    fn block(&mut self) -> Result<(Vec<Node>, Stop), TemplateError> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.next() {
            let tokens = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text));
                    continue;
                }
                Piece::Action(tokens) => tokens,
            };
            let keyword = match tokens.first() {
                Some(Token::Word(word)) => word.clone(),
                _ => String::new(),
            };
            let rest = tokens.get(1..).unwrap_or_default();
            match keyword.as_str() {
                "end" => return Ok((nodes, Stop::EndWord)),
                "else" => return Ok((nodes, Stop::Else(rest.to_vec()))),
                "if" | "with" | "range" => {
                    nodes.push(self.branch(&keyword, rest)?);
                }
                _ => {
                    let (names, expr) = assignment(&tokens)?;
                    nodes.push(Node::Print(names.into_iter().next(), expr));
                }
            }
        }
        Ok((nodes, Stop::End))
    }

    /// `if`, `with` or `range`, up to its `end`.
    fn branch(
        &mut self,
        keyword: &str,
        head: &[Token],
    ) -> Result<Node, TemplateError> {
        let (names, expr) = assignment(head)?;
        let (then, stop) = self.block()?;
        let otherwise = self.otherwise(stop)?;
        Ok(match keyword {
            "if" => Node::If(expr, then, otherwise),
            "with" => {
                let name = names.into_iter().next();
                Node::With(name, expr, then, otherwise)
            }
            _ => Node::Range(names, expr, then, otherwise),
        })
    }

    /// What follows the first block: nothing, an `else`, an `else if`.
    fn otherwise(&mut self, stop: Stop) -> Result<Vec<Node>, TemplateError> {
        Ok(match stop {
            Stop::End => {
                return Err(TemplateError::new(":1: unexpected EOF"));
            }
            Stop::EndWord => Vec::new(),
            Stop::Else(more) if more.is_empty() => match self.block()? {
                (nodes, Stop::EndWord) => nodes,
                _ => {
                    return Err(TemplateError::new(
                        ":1: expected {{end}} after {{else}}",
                    ));
                }
            },
            // `else if …` is an `if` of its own that shares the `end`.
            Stop::Else(more) => match more.first() {
                Some(Token::Word(word)) if word == "if" || word == "with" => {
                    let word = word.clone();
                    vec![self.branch(&word, &more[1..])?]
                }
                _ => {
                    return Err(TemplateError::new(
                        ":1: unexpected token in else",
                    ));
                }
            },
        })
    }
}

/// `$x := pipeline`, `$k, $v := pipeline`, or a pipeline alone.
fn assignment(tokens: &[Token]) -> Result<(Vec<String>, Expr), TemplateError> {
    let Some(at) = tokens.iter().position(|it| *it == Token::Assign) else {
        return Ok((Vec::new(), pipeline(tokens)?));
    };
    let mut names = Vec::new();
    for token in &tokens[..at] {
        match token {
            Token::Variable(name, fields) if fields.is_empty() => {
                names.push(name.clone());
            }
            Token::Comma => {}
            _ => {
                return Err(TemplateError::new(
                    ":1: only a variable can be assigned to",
                ));
            }
        }
    }
    Ok((names, pipeline(&tokens[at + 1..])?))
}

/// `a | b | c`: each result is the last argument of the next command.
fn pipeline(tokens: &[Token]) -> Result<Expr, TemplateError> {
    let mut value = None;
    for part in split_at_pipes(tokens) {
        value = Some(command(part, value)?);
    }
    value.ok_or_else(|| TemplateError::new(":1: missing value for command"))
}

fn split_at_pipes(tokens: &[Token]) -> Vec<&[Token]> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Open => depth += 1,
            Token::Close(_) => depth = depth.saturating_sub(1),
            Token::Pipe if depth == 0 => {
                parts.push(&tokens[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tokens[start..]);
    parts
}

/// A value, or a function with its arguments.
fn command(
    tokens: &[Token],
    piped: Option<Expr>,
) -> Result<Expr, TemplateError> {
    let mut rest = tokens;
    let mut operands = Vec::new();
    let mut function = None;
    if let Some(Token::Word(word)) = rest.first()
        && literal_word(word).is_none()
    {
        function = Some(word.clone());
        rest = &rest[1..];
    }
    while !rest.is_empty() {
        let (operand, left) = operand(rest)?;
        operands.push(operand);
        rest = left;
    }
    if let Some(name) = function {
        operands.extend(piped);
        return Ok(Expr::Call(name, operands));
    }
    if operands.is_empty() {
        return Err(TemplateError::new(":1: missing value for command"));
    }
    let first = operands.remove(0);
    operands.extend(piped);
    match (first, operands.is_empty()) {
        (first, true) => Ok(first),
        (Expr::Field(path), false) => Ok(Expr::Method(path, operands)),
        _ => Err(TemplateError::new(":1: can't give argument to non-function")),
    }
}

fn operand(tokens: &[Token]) -> Result<(Expr, &[Token]), TemplateError> {
    let unexpected = |what: &Token| {
        TemplateError::new(format!(":1: unexpected {what:?} in operand"))
    };
    let Some((first, rest)) = tokens.split_first() else {
        return Err(TemplateError::new(":1: missing value for command"));
    };
    let expr = match first {
        Token::Field(path) => Expr::Field(path.clone()),
        Token::Variable(name, path) => {
            Expr::Variable(name.clone(), path.clone())
        }
        Token::Text(text) => Expr::Literal(text.clone().into()),
        Token::Integer(number) => Expr::Literal((*number).into()),
        Token::Float(number) => Expr::Literal((*number).into()),
        Token::Word(word) => match literal_word(word) {
            Some(value) => Expr::Literal(value),
            // A function without arguments.
            None => Expr::Call(word.clone(), Vec::new()),
        },
        Token::Open => return parenthesis(rest),
        other => return Err(unexpected(other)),
    };
    Ok((expr, rest))
}

fn parenthesis(tokens: &[Token]) -> Result<(Expr, &[Token]), TemplateError> {
    let mut depth = 1_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Open => depth += 1,
            Token::Close(fields) => {
                depth -= 1;
                if depth == 0 {
                    let inner = pipeline(&tokens[..at])?;
                    let expr = match fields.is_empty() {
                        true => inner,
                        false => Expr::Of(Box::new(inner), fields.clone()),
                    };
                    return Ok((expr, &tokens[at + 1..]));
                }
            }
            _ => {}
        }
    }
    Err(TemplateError::new(":1: unclosed left paren"))
}

fn literal_word(word: &str) -> Option<Value> {
    match word {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        "nil" => Some(Value::Null),
        _ => None,
    }
}
