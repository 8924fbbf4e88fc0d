describe("replication", function()
  it("makes a customer of each user with a login", function()
    receptor "replication"
      :given  { on("ada@acme.example", security.PasswordAdded { user_id = "acme", hash = "$2b$1" }) }
      :expect { send.user("acme", CreateUser { login = "ada@acme.example" }) }
  end)

  it("removes who is no user any more", function()
    receptor "replication"
      :given  { on("acme", security.UserRemoved {}) }
      :expect { send.user("acme", RemoveUser {}) }
  end)
end)

describe("a customer", function()
  it("is told of once", function()
    aggregate("user", "acme")
      :when   { CreateUser { login = "ada@acme.example" }, CreateUser { login = "ada@acme.example" } }
      :expect { UserCreated { login = "ada@acme.example" } }
  end)

  it("is shown by the newest login, until it is removed", function()
    projection "customers"
      :given  { on("acme", UserCreated { login = "ada@acme.example" }), on("acme", UserCreated { login = "bob@acme.example" }),
                on("blix", UserCreated { login = "eve@blix.example" }), on("blix", UserRemoved {}) }
      :expect { acme = { login = "bob@acme.example" } }
  end)
end)
