# One process, a few threads: how most containers run Puma behind a proxy.
# Thrust sets PORT; only it speaks to us.
port ENV.fetch("PORT", 3000), "127.0.0.1"
threads 1, 8
environment "production"
rackup File.join(__dir__, "config.ru")
