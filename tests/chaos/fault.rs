//! What can happen to a camera.

use std::time::Duration;

use super::support::fake_camera::FakeCamera;

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Killed,
    PortClosed,
    Frozen,
    Stalled,
    Dropped,
    Reset,
    OtherSize,
    OtherCodec,
    OtherRate,
    ClockAhead,
    ClockBack,
    ClockStuck,
    Corrupt,
    Truncated,
    Login,
    WrongPassword,
    NotFound,
    /// Not a fault: the film, the rate and the login of the start.
    Main,
}

impl Fault {
    /// All that is wrong with cameras.
    pub const ALL: [Self; 17] = [
        Self::Killed,
        Self::ClockAhead,
        Self::Stalled,
        Self::OtherSize,
        Self::Reset,
        Self::Login,
        Self::Corrupt,
        Self::PortClosed,
        Self::OtherCodec,
        Self::ClockStuck,
        Self::Frozen,
        Self::OtherRate,
        Self::NotFound,
        Self::Dropped,
        Self::ClockBack,
        Self::Truncated,
        Self::WrongPassword,
    ];
}

/// Numbers that look random and are the same for the same seed (xorshift).
pub struct Chance(u64);

impl Chance {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// A number from `from` to below `to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        from + (self.0 >> 11) % (to - from)
    }
}

/// What the camera shows now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Showing {
    Main,
    Small,
    H265,
    Jpeg,
}

impl Showing {
    fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::Small => "small",
            Self::H265 => "h265",
            Self::Jpeg => "jpeg",
        }
    }

    /// Lines of its pictures.
    pub fn height(self) -> usize {
        match self {
            Self::Main => 360,
            _ => 272,
        }
    }
}

/// Lets a fault happen and pass; returns when the camera is back, with the time that it was away.
pub fn strike(
    fault: Fault,
    camera: &mut FakeCamera,
    chance: &mut Chance,
    showing: &std::sync::Mutex<Showing>,
) -> Duration {
    let mut showing = showing.lock().unwrap();
    match fault {
        Fault::Killed => {
            camera.kill();
            let away = chance.pause(200, 3000);
            camera.restart();
            *showing = Showing::Main;
            camera.order(super::watched::LOGIN);
            away
        }
        Fault::PortClosed => while_on(camera, chance, "refuse", 300, 3000),
        Fault::Frozen => while_on(camera, chance, "freeze", 300, 4000),
        Fault::Stalled => while_on(camera, chance, "stall", 300, 4000),
        Fault::ClockStuck => while_on(camera, chance, "stuck", 300, 3000),
        Fault::Corrupt => while_on(camera, chance, "corrupt", 200, 2500),
        Fault::Truncated => while_on(camera, chance, "truncate", 200, 2500),
        Fault::NotFound => {
            camera.order("path off");
            let away = chance.pause(300, 3000);
            camera.order("path on");
            away
        }
        Fault::Login | Fault::WrongPassword => {
            camera.order(match fault {
                Fault::Login => "login basic somebody else",
                _ => "login digest viewer other",
            });
            let away = chance.pause(300, 3000);
            camera.order(super::watched::LOGIN);
            away
        }
        Fault::Dropped => once(camera, "drop"),
        Fault::Reset => once(camera, "reset"),
        Fault::ClockAhead => once(
            camera,
            ["jump 3600", "jump 3"][chance.between(0, 2) as usize],
        ),
        Fault::ClockBack => once(
            camera,
            ["jump -3600", "jump -3"][chance.between(0, 2) as usize],
        ),
        Fault::OtherRate => {
            let rate = [10, 15, 30][chance.between(0, 3) as usize];
            once(camera, &format!("fps {rate}"))
        }
        Fault::OtherSize => {
            let film = match *showing {
                Showing::Main => Showing::Small,
                _ => Showing::Main,
            };
            show(camera, &mut showing, film)
        }
        Fault::OtherCodec => {
            let film = match *showing {
                Showing::Main | Showing::Small => {
                    [Showing::H265, Showing::Jpeg][chance.between(0, 2) as usize]
                }
                _ => Showing::Main,
            };
            show(camera, &mut showing, film)
        }
        Fault::Main => {
            camera.order("fps 25");
            show(camera, &mut showing, Showing::Main)
        }
    }
}

fn show(camera: &mut FakeCamera, showing: &mut Showing, film: Showing) -> Duration {
    *showing = film;
    once(camera, &format!("film {}", film.name()))
}

fn once(camera: &mut FakeCamera, order: &str) -> Duration {
    camera.order(order);
    Duration::ZERO
}

fn while_on(
    camera: &mut FakeCamera,
    chance: &mut Chance,
    order: &str,
    from: u64,
    to: u64,
) -> Duration {
    camera.order(&format!("{order} on"));
    let away = chance.pause(from, to);
    camera.order(&format!("{order} off"));
    away
}
