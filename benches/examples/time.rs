use std::time::Instant;
use vitreous_benches::{engine, vit_config};
fn main() {
    let names: Vec<String> = std::env::args().skip(1).collect();
    for (name, config, n) in [
        ("small", vit_config(32, 4, 96, 6, 3, 192), 400),
        ("tiny", vit_config(224, 16, 192, 12, 3, 768), 100),
        ("base", vit_config(224, 16, 768, 12, 12, 3072), 4),
    ] {
        if names.iter().any(|n| n == "smallonly") && name != "small" {
            continue;
        }
        let n = if names.iter().any(|n| n == "smallonly") { 6000 } else { n };
        if name == "base" && !names.iter().any(|n| n == "base") {
            continue;
        }
        let e = engine(config);
        for k in vitreous::kernels::supported_kernels() {
            if names.iter().any(|n| n == "smallonly") && k.name != "avx512-vnni" {
                continue;
            }
            if k.name == "portable" && !names.iter().any(|n| n == "portable") {
                continue;
            }
            let e = e.clone().with_kernels(k).unwrap();
            let mut s = e.session().unwrap();
            let c = *e.config();
            let image: Vec<u8> =
                (0..c.image_height * c.image_width * 3).map(|i| (i * 37 % 251) as u8).collect();
            let mut times: Vec<f64> = (0..n)
                .map(|_| {
                    let t = Instant::now();
                    std::hint::black_box(s.run(&image, false).unwrap());
                    t.elapsed().as_secs_f64() * 1e3
                })
                .collect();
            times.sort_by(f64::total_cmp);
            println!("{name:6} {:12} min {:.3} ms  median {:.3} ms", k.name, times[0], times[n / 2]);
            let pool = vitreous_tools::pool::Pool::new(2).unwrap();
            let mut s = e.session_on(Some(&pool)).unwrap();
            let mut times: Vec<f64> = (0..n)
                .map(|_| {
                    let t = Instant::now();
                    std::hint::black_box(s.run(&image, false).unwrap());
                    t.elapsed().as_secs_f64() * 1e3
                })
                .collect();
            times.sort_by(f64::total_cmp);
            println!(
                "   2 threads: {name:6} {:12} min {:.3} ms  median {:.3} ms",
                k.name,
                times[0],
                times[n / 2]
            );
        }
    }
}
