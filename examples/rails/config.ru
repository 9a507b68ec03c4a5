# A Rails app in one file (Debian's `ruby-rails`, 6.1), as its generator would have it in production, without a database:
#
#   thrust puma -C examples/rails/puma.rb
#
#   /                the page of a session, with a form
#   /notes (POST)    what the form sends; needs its token
#   /about           a page for all
#   /downloads/NAME  a file of the directory DOWNLOADS
#   /events          lines that never end, a tenth of a second apart
#   /headers         the fields of the request that a proxy may have made
#   /assets/...      public files

require "action_controller/railtie"

# The whole app.
class Example < Rails::Application
  config.root = __dir__
  config.load_defaults 6.1
  config.eager_load = false
  config.logger = ActiveSupport::Logger.new($stdout)
  config.log_level = :warn
  config.secret_key_base = "0" * 64
  config.consider_all_requests_local = false
  config.public_file_server.enabled = true
  config.public_file_server.headers = { "Cache-Control" => "public, max-age=31536000, immutable" }
  # The one line that lets Thrust send the app's files.
  config.action_dispatch.x_sendfile_header = "X-Sendfile"

  routes.append do
    root "pages#home"
    post "notes" => "pages#note"
    get "about" => "pages#about"
    get "headers" => "pages#fields"
    get "downloads/:name" => "pages#download", constraints: { name: /[^\/]+/ }
    get "events" => "events#index"
  end
end

# What a browser asks for.
class PagesController < ActionController::Base
  protect_from_forgery with: :exception

  HOME = <<~HTML
    <!doctype html><title>Home</title><%= csrf_meta_tags %>
    <p>Visit <%= session[:visits] %> of <%= session[:name] || "somebody" %>.</p>
    <%= form_with url: "/notes" do |form| %><%= form.text_field :name %><% end %>
    <p><%= "A few more words, so that the page is worth compressing. " * 40 %></p>
  HTML

  def home
    session[:visits] = session.fetch(:visits, 0) + 1
    render inline: HOME
  end

  def note
    session[:name] = params.require(:name)
    redirect_to "/"
  end

  def about
    expires_in 1.hour, public: true
    render inline: "<!doctype html><title>About</title>" + "<p>The same for all.</p>" * 100
  end

  def fields
    names = %w[Host X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto X-Sendfile-Type X-Request-Id]
    render plain: names.map { |name| "#{name}: #{request.headers[name]}\n" }.join
  end

  def download
    path = File.join(ENV.fetch("DOWNLOADS"), params[:name])
    send_file path, type: "application/octet-stream", disposition: params.fetch(:disposition, "attachment")
  rescue ActionController::MissingFile
    head :not_found
  end
end

# What goes on for ever.
class EventsController < ActionController::Base
  include ActionController::Live

  def index
    response.headers["Content-Type"] = "text/event-stream"
    # Else Rack::ETag gathers the body to its end.
    response.headers["Last-Modified"] = Time.now.httpdate
    (0..).each do |number|
      response.stream.write("data: event #{number}\n\n")
      sleep 0.1
    end
  rescue ActionController::Live::ClientDisconnected, IOError
    # Nobody listens any more.
  ensure
    response.stream.close
  end
end

Example.initialize!
run Example
